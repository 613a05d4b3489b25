from __future__ import annotations

from dataclasses import replace

import numpy as np
import orjson
import pytest

from engines.api import Endpoint
from engines.promise import Promise
from engines.templates import RequestFacts
from engines.terms import Slo, Terms
from suite.driver.answer import Answer
from suite.driver.calibrate import endpoint
from suite.driver.prompt import History, PromptError
from suite.driver.request_writer import RequestWriter
from suite.driver.target import Target
from suite.driver.words import render
from workloads.plan_parts import Turn

IDS = endpoint(8000, {})
ANN = Terms(user_id="ann", user_class="gold", slo=Slo(ttft_s=1.5, tbt_s=0.2, max_gap_s=2.0))
TEXT = replace(IDS, prompt_form="text", is_fsbench=False)
CHAT = replace(TEXT, api="chat")


def turn(*token_ids: int, text: str | None = None) -> Turn:
    return Turn(
        new_prompt_token_ids=np.array(token_ids, dtype=np.int32),
        prompt_text=text,
        num_output_tokens=5,
        think_time_s=0.0,
    )


def request_of(to: Endpoint, *turns: Turn, priority: int | None = None) -> tuple[bytes, dict]:  # type: ignore[type-arg]
    history = History(to)
    for number, asked in enumerate(turns):
        if number:
            history.hear(Answer(token_ids=[90, 91], text=[" x", " y"]))
        history.ask(asked)
    writer = RequestWriter(to, Target.from_url(to.base_url))
    facts = RequestFacts(user_id="u1", user_class="k", conversation_id="c1", priority=priority)
    request = writer.write(history, turns[-1], facts, ANN)
    head, _, content = request.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(content) in head
    return head, orjson.loads(content)


def test_a_prompt_of_ids_is_the_whole_history_with_the_servers_own_answers() -> None:
    head, body = request_of(IDS, turn(1, 2), turn(3))
    assert head.startswith(b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")
    assert body["prompt"] == [1, 2, 90, 91, 3]


def test_a_prompt_of_text_prefers_the_users_words() -> None:
    _, body = request_of(TEXT, turn(1, text="Hello"), turn(2))
    assert body["prompt"] == "Hello x y" + render(turn(2))
    assert "return_token_ids" not in body
    assert "ignore_eos" not in body
    assert "conversation_id" not in body


def test_chat_is_a_list_of_messages() -> None:
    head, body = request_of(CHAT, turn(text="Hello"), turn(text="And?"))
    assert head.startswith(b"POST /v1/chat/completions ")
    assert body["messages"] == [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": " x y"},
        {"role": "user", "content": "And?"},
    ]


def test_the_endpoints_own_fields_win() -> None:
    to = replace(IDS, extra_body={"temperature": 0.7, "ignore_eos": False})
    _, body = request_of(to, turn(1))
    assert body["temperature"] == 0.7
    assert body["ignore_eos"] is False


def test_the_key_goes_into_the_head_and_nowhere_else() -> None:
    head, body = request_of(replace(TEXT, api_key="s3cret"), turn(1))
    assert b"Authorization: Bearer s3cret\r\n" in head
    assert "s3cret" not in orjson.dumps(body).decode()
    assert b"Authorization" not in request_of(TEXT, turn(1))[0]


def test_a_priority_is_sent_where_there_is_one() -> None:
    to = replace(IDS, takes_priority=True)
    assert request_of(to, turn(1), priority=0)[1]["priority"] == 0
    assert "priority" not in request_of(to, turn(1))[1]
    assert "priority" not in request_of(IDS, turn(1), priority=0)[1]


def test_a_server_that_heeds_it_is_told_who_asks_and_what_was_promised() -> None:
    _, body = request_of(replace(IDS, takes_terms=True), turn(1))
    assert (body["user"], body["user_class"]) == ("ann", "gold")
    assert Promise(**body["slo"]).slo() == ANN.slo


def test_the_vllm_plug_in_is_told_it_as_plain_values() -> None:
    to = replace(TEXT, names_conversation=True, takes_terms=True)
    _, body = request_of(to, turn(1))
    assert not {"user", "user_class", "slo"} & body.keys()
    xargs = body["vllm_xargs"]
    assert xargs.pop("conversation_id") == "c1"
    assert (xargs.pop("user"), xargs.pop("user_class")) == ("ann", "gold")
    assert Promise(**xargs).slo() == ANN.slo


def test_other_servers_are_told_nothing_of_it() -> None:
    for to in (IDS, TEXT, CHAT, replace(TEXT, names_conversation=True)):
        _, body = request_of(to, turn(1, text="Hello"))
        assert not {"user", "user_class", "slo"} & {*body, *body.get("vllm_xargs", {})}


def test_a_turn_without_ids_cannot_be_asked_as_ids() -> None:
    with pytest.raises(PromptError, match="no token ids; use `api: chat`"):
        History(IDS).ask(turn(text="Hello"))


def test_equal_ids_make_equal_words_one_for_each() -> None:
    words = render(turn(5, 6, 5)).split(" ")[1:]
    assert len(words) == 3
    assert words[0] == words[2] != words[1]
    assert render(turn(5, 6, 5, 7)).startswith(render(turn(5, 6, 5)))
