"""`fsbench doctor URL` against servers with known ways, over real sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from typer.testing import CliRunner

from engines.openai import OpenAISettings
from reports.text.examined import workload_lines
from suite.cli.app import app
from suite.doctor.findings import Examined, Finding
from suite.doctor.server import examine_server
from workloads.yaml_file import read_yaml

BLOCK = 16


@dataclass(kw_only=True)
class Ways:
    """What the server does; by default all that can be asked of it."""

    apis: tuple[str, ...] = ("chat", "completions")
    refuses: frozenset[str] = frozenset()
    heeds: frozenset[str] = frozenset({"ignore_eos", "min_tokens", "cache_salt"})
    own_length: int = 5  # of an answer that nobody keeps from ending
    template_tokens: int = 11
    tokens_per_word: int = 1
    tells_usage: bool = True
    tells_cached: bool = True
    returns_ids: bool = True
    tokens_per_chunk: int = 1
    is_buffering: bool = False
    keeps_alive: bool = True
    hangs: bool = False
    counters: str | None = "vllm:num_requests_running 0.0\n"
    owner: str = "vllm"
    pages: dict[str, Any] = field(default_factory=lambda: {"/version": {"version": "0.32.0"}})


@contextmanager
def server(ways: Ways) -> Iterator[str]:
    cache: set[tuple[str, ...]] = set()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            model = {"id": "m", "owned_by": ways.owner, "max_model_len": 777}
            pages = {"/v1/models": {"data": [model]}, **ways.pages}
            if self.path == "/metrics" and ways.counters is not None:
                self._reply(200, ways.counters.encode())
            elif self.path in pages:
                self._reply(200, json.dumps(pages[self.path]).encode())
            else:
                self._reply(404, b"{}")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            api = "chat" if self.path.endswith("/chat/completions") else "completions"
            refused = sorted(ways.refuses & body.keys())
            if ways.hangs:
                time.sleep(1.0)
            if api not in ways.apis:
                self._reply(404, b'{"detail": "Not Found"}')
            elif refused:
                said = {"error": {"message": f"unknown field: {refused[0]}"}}
                self._reply(400, json.dumps(said).encode())
            else:
                self._stream(body, api)

        def _reply(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, body: dict[str, Any], api: str) -> None:
            tokens = _tokens(body, ways)
            num_cached = _found(cache, tokens, str(body.get("cache_salt", "")), ways)
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            events = [*_chunks(body, api, ways), *_usage(body, tokens, num_cached, ways)]
            content = [f"data: {json.dumps(each)}\n\n".encode() for each in events]
            content.append(b"data: [DONE]\n\n")
            if ways.is_buffering:
                content = [b"".join(content)]
            for each in content:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(each), each))
                self.wfile.flush()
                time.sleep(0.001)
            self.wfile.write(b"0\r\n\r\n")
            self.close_connection = not ways.keeps_alive

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def _tokens(body: dict[str, Any], ways: Ways) -> list[str]:
    if "messages" in body:
        added = ["<t>"] * ways.template_tokens
        return added + body["messages"][0]["content"].split() * ways.tokens_per_word
    prompt = body["prompt"]
    if isinstance(prompt, list):
        return [str(each) for each in prompt]
    return prompt.split() * ways.tokens_per_word


def _found(cache: set[tuple[str, ...]], tokens: list[str], salt: str, ways: Ways) -> int:
    """Returns how many tokens whole blocks of the cache hold; keeps the prompt's."""
    key = [salt if "cache_salt" in ways.heeds else ""]
    found = 0
    for end in range(BLOCK, len(tokens) + 1, BLOCK):
        if tuple(key + tokens[:end]) in cache and found == end - BLOCK:
            found = end
        cache.add(tuple(key + tokens[:end]))
    return found


def _chunks(body: dict[str, Any], api: str, ways: Ways) -> Iterator[dict[str, Any]]:
    wants_all = "ignore_eos" in ways.heeds and body.get("ignore_eos")
    wants_all = wants_all or ("min_tokens" in ways.heeds and body.get("min_tokens"))
    num = body["max_tokens"] if wants_all else min(ways.own_length, body["max_tokens"])
    if "OK" not in json.dumps(body):  # only a short answer ends early
        num = body["max_tokens"]
    for first in range(0, num, ways.tokens_per_chunk):
        few = min(ways.tokens_per_chunk, num - first)
        choice: dict[str, Any] = {"index": 0}
        text = " w" * few
        choice |= {"delta": {"content": text}} if api == "chat" else {"text": text}
        if ways.returns_ids and body.get("return_token_ids"):
            choice["token_ids"] = [7] * few
        yield {"model": "m-as-served", "system_fingerprint": "fp_1", "choices": [choice]}
    end = "length" if num == body["max_tokens"] else "stop"
    yield {"choices": [{"index": 0, "delta": {}, "text": "", "finish_reason": end}]}


def _usage(
    body: dict[str, Any], tokens: list[str], num_cached: int, ways: Ways
) -> Iterator[dict[str, Any]]:
    if not ways.tells_usage:
        return
    wants_all = body.get("ignore_eos") or body.get("min_tokens") or "OK" not in json.dumps(body)
    num = body["max_tokens"] if wants_all else min(ways.own_length, body["max_tokens"])
    told: dict[str, Any] = {"prompt_tokens": len(tokens), "completion_tokens": num}
    if ways.tells_cached:
        told["prompt_tokens_details"] = {"cached_tokens": num_cached}
    yield {"choices": [], "usage": told}


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


def test_the_lines_are_yaml_that_fsbench_takes(tmp_path: Any) -> None:
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
