"""Each key that says how a server wants to be asked, against a real socket."""

from __future__ import annotations

import ssl
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.api import Endpoint
from engines.errors import EngineError, EngineInputError
from engines.openai import OpenAISettings
from tests.recording_server import Got, recording_server
from tests.suite.driver.conftest import Played
from workloads.plan import Plan
from workloads.plan_parts import PriorityPattern, PriorityTrace

Drive = Callable[..., Played]
MakePlan = Callable[..., Plan]


def attach(base_url: str | None, **fields: Any) -> Endpoint:
    given = {} if base_url is None else {"base_url": base_url}
    settings = OpenAISettings(**given, **fields).resolve(None)
    with settings.running(name="mine", directory=Path(), priorities=None) as engine:
        return engine.endpoint


def succeed(played: Played) -> None:
    assert [record.error for record in played.records] == [None] * len(played.records)


def test_headers_are_filled_in_for_each_request_and_sent_with_each_look(
    make_plan: MakePlan, drive_in_process: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEAM", "blue ${user_id}")
    headers = {
        "X-Who": "${user_id} of ${user_class} in ${conversation_id}",
        "X-Team": "${env:TEAM}",
        "X-Plain": "$${user_id} for $5",
        "user-agent": "mine",
    }
    plan = make_plan(starts_at_s=(0.0, 0.0), num_turns=2)
    with recording_server() as server:
        succeed(drive_in_process(plan, attach(server.base_url, headers=headers)))
        who = Counter(each.headers["x-who"] for each in server.asked)
        assert who == {
            f"{each.user_id} of standard in {each.conversation_id}": 2
            for each in plan.conversations
        }
        for got in server.got:
            assert got.headers["x-team"] == "blue ${user_id}"  # what is filled in stays as it is
            assert got.headers["x-plain"] == "${user_id} for $5"
        assert {each.headers["user-agent"] for each in server.asked} == {"mine"}
        assert server.looks and all("x-who" in each.headers for each in server.looks)


def test_extra_body_is_filled_in_alike_and_a_priority_stays_a_number(
    make_plan: MakePlan, drive_in_process: Drive
) -> None:
    levels = np.array([[3, 7]], dtype=np.uint8)
    trace = PriorityTrace(
        pattern=PriorityPattern.STATIC,
        num_levels=8,
        update_frequency=0.0,
        update_interval_s=0.0,
        levels=levels,
    )
    body = {"user": "${user_id}", "meta": {"p": "${priority}", "all": ["p${priority}"]}, "n": 1}
    plan = make_plan(starts_at_s=(0.0, 0.0), priorities=trace)
    with recording_server() as server:
        succeed(drive_in_process(plan, attach(server.base_url, extra_body=body)))
        found = {each.body["user"]: each.body["meta"] for each in server.asked if each.body}
        assert found == {"u0": {"p": 3, "all": ["p3"]}, "u1": {"p": 7, "all": ["p7"]}}
        assert all("priority" not in (each.body or {}) for each in server.asked)


def test_fields_are_renamed_and_left_out(make_plan: MakePlan, drive_in_process: Drive) -> None:
    to = {"rename": {"max_tokens": "max_completion_tokens"}, "omit": ["stream_options", "model"]}
    with recording_server() as server:
        endpoint = attach(server.base_url, api="chat", ignore_eos=False, **to)
        succeed(drive_in_process(make_plan(num_output_tokens=4), endpoint))
        [got] = server.asked
    assert got.body is not None
    assert got.body.keys() == {"messages", "temperature", "stream", "max_completion_tokens"}
    assert got.body["max_completion_tokens"] == 4


def test_a_prompt_may_have_another_name_too(make_plan: MakePlan, drive_in_process: Drive) -> None:
    with recording_server() as server:
        endpoint = attach(server.base_url, rename={"prompt": "input"})
        succeed(drive_in_process(make_plan(prompt_text="Hello"), endpoint))
        [got] = server.asked
    assert got.body is not None and got.body["input"] == "Hello" and "prompt" not in got.body


def test_a_query_goes_with_every_request(make_plan: MakePlan, drive_in_process: Drive) -> None:
    with recording_server() as server:
        url = f"{server.base_url}/deployments/d?api-version=2024-10-21&x=1"
        succeed(drive_in_process(make_plan(), attach(url, api="chat")))
        query = "?api-version=2024-10-21&x=1"
        assert server.asked[0].path == f"/v1/deployments/d/chat/completions{query}"
        assert server.looks[0].path == f"/v1/deployments/d/models{query}"


def test_user_and_password_of_a_url_become_a_header(
    make_plan: MakePlan, drive_in_process: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD", "s/t p")
    with recording_server() as server:
        url = server.base_url.replace("//", "//me:${env:PASSWORD}@")
        endpoint = attach(url)
        assert "me" not in endpoint.base_url and "s/t p" not in endpoint.base_url
        succeed(drive_in_process(make_plan(), endpoint))
        assert {each.headers["authorization"] for each in server.got} == {"Basic bWU6cy90IHA="}


@pytest.mark.parametrize("key", ["key-1\n", " key-1 ", "\r\nkey-1"])
def test_what_stands_around_a_key_is_not_sent(
    key: str, make_plan: MakePlan, drive_in_process: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", key)
    with recording_server() as server:
        succeed(drive_in_process(make_plan(), attach(server.base_url, api_key_env="KEY")))
        assert {each.headers["authorization"] for each in server.got} == {"Bearer key-1"}


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("sk-one\nsk-two", "holds a line break at place 7 of 13, which no header can carry"),
        ("sk-\N{EN DASH}one", "holds the character '\\u2013' at place 4 of 7"),
        ("  ", "the environment variable KEY is empty; export it"),
    ],
)
def test_a_key_that_no_header_can_carry_is_told_and_not_shown(
    key: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", key)
    for fields in ({"api_key_env": "KEY"}, {"headers": {"api-key": "${env:KEY}"}}):
        with pytest.raises(EngineInputError) as caught:
            attach("http://127.0.0.1:9/v1", **fields)
        assert str(caught.value).startswith("engines.mine.") and "sk-" not in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(EngineInputError) as caught:
        attach("http://127.0.0.1:9/v1", api_key_env="KEY")
    assert says in str(caught.value)


def test_several_servers_are_asked_by_conversation_or_in_turn(
    make_plan: MakePlan, drive_in_process: Drive
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.0, 0.0), num_turns=2)
    for balance in ("conversation", "round_robin"):
        with recording_server() as one, recording_server() as two:
            endpoint = attach(None, base_urls=[one.base_url, two.base_url], balance=balance)
            played = drive_in_process(plan, endpoint)
            succeed(played)
            assert len(one.looks) == len(two.looks) > 0
            by_conversation = Counter(
                (record.conversation_id, record.server) for record in played.records
            )
            counts = len(one.asked), len(two.asked)
        if balance == "conversation":
            assert counts == (4, 2)  # of three conversations
            assert set(by_conversation.values()) == {2}
        else:
            assert counts == (3, 3)


def test_servers_of_several_models_are_refused() -> None:
    with recording_server() as one, recording_server(models=["other"]) as two:
        urls = [one.base_url, two.base_url]
        with pytest.raises(EngineInputError, match=r"serve different models \(recorder, other\)"):
            attach(None, base_urls=urls)


def test_a_model_that_need_not_be_listed_is_not_asked_for(
    make_plan: MakePlan, drive_in_process: Drive
) -> None:
    with recording_server(models=[]) as server:
        endpoint = attach(server.base_url, model="hidden", check_model=False)
        succeed(drive_in_process(make_plan(), endpoint))
        assert not server.looks
        assert server.asked[0].body is not None and server.asked[0].body["model"] == "hidden"


def test_a_server_that_is_starting_is_waited_for() -> None:
    with recording_server(ready_at=time.monotonic() + 1.0) as server:
        with pytest.raises(EngineError, match=r"503 .*wait_ready=120s waits for it"):
            attach(server.base_url)
        assert attach(server.base_url, wait_ready="60s").model == "recorder"
        assert time.monotonic() >= server.ready_at


def test_one_that_does_not_get_ready_is_told_in_one_line() -> None:
    with recording_server(ready_at=float("inf")) as server, pytest.raises(EngineError) as caught:
        attach(server.base_url, wait_ready="200ms")
    said = str(caught.value)
    assert said.startswith("engines.mine.wait_ready: http://127.0.0.1:")
    assert "was not ready after 0.2 s (503 Service Unavailable); look at" in said


def test_a_certificate_of_ones_own_is_believed_where_the_file_names_it(
    authority: tuple[Path, Path],
    make_plan: MakePlan,
    drive_in_process: Drive,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    ca_file, certificate = authority
    with recording_server(certificate) as server:
        with pytest.raises(EngineError, match=r"engines\.mine\.tls\.ca_file names a file"):
            attach(server.base_url)
        for tls in ({"ca_file": str(ca_file)}, {"verify": False}):
            endpoint = attach(server.base_url, tls=tls)
            played = drive_in_process(make_plan(num_turns=2), endpoint)
            succeed(played)
            assert {record.time_source for record in played.records} == {"user"}
        assert len(server.asked) == 4


def test_a_name_that_the_certificate_does_not_have_is_refused(
    certificate: Path, make_plan: MakePlan, drive_in_process: Drive
) -> None:
    with recording_server(certificate) as server:
        url = server.base_url.replace("localhost", "127.0.0.1")
        with pytest.raises(EngineError, match="IP address mismatch"):
            attach(url, tls={"ca_file": str(certificate)})


def test_a_file_without_certificates_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name, says in (("empty.pem", "holds no certificates"), ("none.pem", "is not there")):
        with pytest.raises(EngineInputError, match=f"tls.ca_file .*{says}"):
            attach("https://localhost:9/v1", tls={"ca_file": str(tmp_path / name)})


def test_what_a_server_says_of_its_callers_key_is_hidden(
    make_plan: MakePlan, drive_in_process: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "sk-very-secret")

    def refuse(got: Got) -> tuple[int, str] | None:
        is_asked = got.path.endswith("completions")
        return (401, f"the key {got.headers['authorization']} is wrong") if is_asked else None

    with recording_server(refusal=refuse) as server:
        played = drive_in_process(make_plan(), attach(server.base_url, api_key_env="KEY"))
    [record] = played.records
    assert record.error is not None and "the key Bearer *** is wrong" in record.error


def test_the_default_context_still_checks_certificates() -> None:
    from engines.tls import tls_context

    assert tls_context(None).verify_mode == ssl.CERT_REQUIRED
    assert tls_context(None).check_hostname
