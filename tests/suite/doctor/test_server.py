"""`fsbench doctor URL` against servers with known ways, over real sockets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.openai import OpenAISettings
from reports.text.examined import workload_lines
from suite.cli.app import app
from suite.doctor.findings import Examined, Finding
from suite.doctor.server import examine_server
from tests.ways_server import Ways, server
from workloads.yaml_file import read_yaml


def examined(ways: Ways, **settings: Any) -> Examined:
    with server(ways) as url:
        given = OpenAISettings(base_url=url, **{"api": "chat", **settings})
        return examine_server("mine", given, timeout_s=10.0)


def outcomes(found: Examined) -> dict[str, str]:
    return {each.what: each.outcome for each in found.findings}


def finding(found: Examined, what: str) -> Finding:
    [one] = [each for each in found.findings if each.what == what]
    return one


def test_a_server_that_takes_all_is_told_so_and_which_it_is() -> None:
    found = examined(Ways())
    assert outcomes(found) == {
        "api: chat": "yes",
        "api: completions": "yes",
        "usage in the stream": "yes",
        "one token a chunk": "yes",
        "streams without buffering": "yes",
        "keeps connections open": "yes",
        "tokens a word": "yes",
        "chat template": "yes",
        "ignore_eos": "yes",
        "min_tokens": "yes",
        "priority": "unknown",
        "token ids": "yes",
        "return_token_ids": "yes",
        "prefix cache": "yes",
        "cache_salt": "yes",
        "counter page": "yes",
    }
    assert not any(each.is_problem for each in found.findings)
    assert (found.identity.software, found.identity.version) == ("vLLM", "0.32.0")
    assert found.answered is not None and "model m-as-served, fingerprint fp_1" in found.answered
    assert "adds 11 tokens" in finding(found, "chat template").text
    assert found.entry["metrics_url"].endswith("/metrics")
    assert "token_ids" in found.comments["api"]
    assert found.others["conversations.max_context_tokens"] == "777 or less"
    assert found.why_broken_off is None and found.can_be_measured


@pytest.mark.parametrize(
    ("ways", "what", "outcome", "words"),
    [
        (Ways(refuses=frozenset({"ignore_eos"})), "ignore_eos", "no", "unknown field: ignore_eos"),
        (Ways(refuses=frozenset({"priority"})), "priority", "no", "unknown field: priority"),
        (Ways(refuses=frozenset({"cache_salt"})), "cache_salt", "no", "unknown field"),
        (Ways(refuses=frozenset({"return_token_ids"})), "token ids", "no", "unknown field"),
        (Ways(returns_ids=False), "return_token_ids", "ignored", "are not told"),
        (Ways(heeds=frozenset()), "cache_salt", "ignored", "found under a new salt all the same"),
        (Ways(own_length=99), "ignore_eos", "unknown", "can not be seen"),
        (Ways(tells_cached=False), "prefix cache", "unknown", "cached_tokens"),
        (Ways(tells_usage=False), "usage in the stream", "no", "chunks are counted"),
        (Ways(tells_usage=False), "tokens a word", "unknown", "does not count"),
        (Ways(tokens_per_chunk=4), "one token a chunk", "no", "32 tokens came in 8 chunks"),
        (Ways(is_buffering=True), "streams without buffering", "no", "in 1 reads"),
        (Ways(keeps_alive=False), "keeps connections open", "no", "closes after an answer"),
        (Ways(tokens_per_word=2), "tokens a word", "yes", "2.00: 8 words are counted as 16"),
        (
            Ways(tokens_per_word=0, apis=("chat",)),
            "tokens a word",
            "no",
            "0.00: 8 words are counted as 11 tokens in chat, 40 as 11, which is no count of them",
        ),
        (Ways(apis=("chat",)), "chat template", "yes", "adds about 11 tokens"),
        (Ways(counters=None), "counter page", "no", "answers 404"),
        (Ways(counters="x 1\n"), "counter page", "no", "1 samples, none with a name of"),
        (Ways(counters="llamacpp:n_decode_total 1\n"), "counter page", "yes", "llama.cpp's names"),
    ],
)
def test_each_way_of_a_server_is_told(ways: Ways, what: str, outcome: str, words: str) -> None:
    one = finding(examined(ways), what)
    assert (one.outcome, words in one.text) == (outcome, True), one


def test_what_it_refuses_is_left_out_of_the_lines_for_a_workload_file() -> None:
    refusing = Ways(
        refuses=frozenset({"ignore_eos", "cache_salt", "return_token_ids"}), apis=("completions",)
    )
    found = examined(refusing, prompts="text")
    assert found.entry["api"] == "completions" and "streamed answer" in found.comments["api"]
    assert found.entry["ignore_eos"] is False
    assert "prompts" not in found.entry


def test_the_lines_are_yaml_that_fsbench_takes(tmp_path: Path) -> None:
    found = examined(Ways(refuses=frozenset({"ignore_eos"})), model="m")
    path = tmp_path / "lines.yaml"
    path.write_text("\n".join(workload_lines(found)))
    entry = read_yaml(path)["engines"]["mine"]
    assert OpenAISettings.model_validate(entry).ignore_eos is False


def test_a_server_that_hangs_holds_nobody_and_is_told() -> None:
    with server(Ways(hangs=True)) as url:
        given = OpenAISettings(base_url=url, api="chat")
        found = examine_server("mine", given, timeout_s=0.2)
    assert found.num_requests == 1
    assert found.why_broken_off == "api: chat: no whole answer after 0.2 s, so no more was asked"
    assert not found.can_be_measured


def test_the_command_gives_json_lines_and_exit_codes() -> None:
    with server(Ways()) as url:
        done = CliRunner().invoke(app, ["doctor", url, "--json"])
        shown = CliRunner().invoke(app, ["doctor", url])
    assert (done.exit_code, shown.exit_code) == (0, 0)
    told = json.loads(done.stdout)
    assert told["can_be_measured"] and told["identity"]["version"] == "0.32.0"
    assert told["workload"]["engines"]["server"]["base_url"] == url
    assert "write into a workload file:" in shown.stdout
    assert "is vLLM 0.32.0" in shown.stdout


def test_a_server_with_no_stream_to_give_ends_with_4() -> None:
    with server(Ways(apis=())) as url:
        done = CliRunner().invoke(app, ["doctor", url])
    assert done.exit_code == 4
    assert "neither endpoint gave a streamed answer" in done.stdout
    assert "workload file:" not in done.stdout
