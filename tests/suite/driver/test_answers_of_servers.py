"""What real servers send, written byte by byte by a real server at known instants: each case is
one that some server in use sends. The truth: the first token after 60 ms, 15 ms between tokens, 8
tokens asked."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.api import Endpoint
from suite.driver.calibrate import read_truth
from suite.records.turn_records import TurnRecord
from tests.suite.driver.conftest import Played, ScriptedEngine
from workloads.plan import Plan

FIRST_S, GAP_S, NUM_TOKENS = 0.060, 0.015, 8
DONE = "data: [DONE]\n\n"
Write = tuple[float, str, int]  # seconds after the request, text, chunks with tokens in it


def data(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


def delta(index: int = 0, **fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": fields, "finish_reason": None}]}


def finish(reason: str = "length", **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {}, "finish_reason": reason, **more}]}


def usage(prompt: Any, completion: Any, **more: Any) -> dict[str, Any]:
    told = {"prompt_tokens": prompt, "completion_tokens": completion, **more}
    return {"choices": [], "usage": told}


def at(number: int) -> float:
    return FIRST_S + number * GAP_S


def tokens(num: int = NUM_TOKENS, *, event: Callable[[int], str] | None = None) -> list[Write]:
    make = event or (lambda number: data(delta(content=f" w{number}")))
    return [(at(number), make(number), 1) for number in range(num)]


def ending(*events: str, num: int = NUM_TOKENS) -> list[Write]:
    return [(at(num - 1), "".join(events), 0)]


WHOLE = ending(data(finish()), data(usage(7, 8)), DONE)


class Asked:
    """Plays one plan of one conversation against a server that answers so."""

    def __init__(
        self,
        engine: ScriptedEngine,
        make_plan: Callable[..., Plan],
        drive: Callable[..., Played],
        as_chat: Callable[[Endpoint], Endpoint],
    ) -> None:
        self._engine, self._make_plan, self._drive = engine, make_plan, drive
        self._as_chat = as_chat
        self.written: list[float] = []  # instants after the request came, of the last turn

    def turns(self, writes: Sequence[Write], *, num: int = 1, **script: Any) -> list[TurnRecord]:
        to = self._as_chat(self._engine.endpoint(writes=writes, **script))
        plan = self._make_plan(num_turns=num, num_output_tokens=NUM_TOKENS)
        played = self._drive(plan, replace(to, is_fsbench=True), turn_timeout_s=30.0)
        last = played.records[-1]
        self.written = read_truth(self._engine.truth_path)[last.conversation_id, last.turn]
        self.written = [each - played.started_at for each in self.written]
        return played.records

    def turn(self, writes: Sequence[Write], **script: Any) -> TurnRecord:
        [record] = self.turns(writes, **script)
        return record

    def is_true(self, record: TurnRecord) -> bool:
        """Every token has the instant at which it was written: none an earlier one, and not all
        (for a busy machine delays many) a later one."""
        assert record.error is None, record.error
        errors_s = np.asarray(record.token_at) - np.asarray(self.written)
        return bool(-0.001 < errors_s.min() < 0.005)


@pytest.fixture
def asked(
    engine: ScriptedEngine,
    make_plan: Callable[..., Plan],
    drive_in_process: Callable[..., Played],
    as_chat: Callable[[Endpoint], Endpoint],
) -> Asked:
    return Asked(engine, make_plan, drive_in_process, as_chat)


ERRORS = [
    (finish("abort"), "the server ended the answer with finish_reason 'abort'"),
    (finish("content_filter"), "the server ended the answer with finish_reason 'content_filter'"),
    (finish("Cancelled"), "the server ended the answer with finish_reason 'Cancelled'"),
    (
        finish("error", error={"code": 502, "message": "Provider disconnected"}),
        "error in the stream: Provider disconnected",
    ),
    ({"object": "error", "message": "CUDA error", "code": 500}, "error in the stream: CUDA error"),
    ({"error": {"message": "out of memory"}}, "error in the stream: out of memory"),
    ({"error": "out of memory"}, "error in the stream: out of memory"),
    ({"error": 502, "message": "bad gateway"}, "error in the stream: bad gateway"),
    (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "error in the stream: Overloaded",
    ),
    ({"detail": "Internal Server Error"}, "error in the stream: Internal Server Error"),
    ({"detail": [{"loc": ["body"], "msg": "too long"}]}, "error in the stream: body: too long"),
    ({"message": "worker died", "code": "internal"}, "error in the stream: worker died"),
    ({"code": 503, "msg": "no worker"}, "error in the stream: no worker"),
    ({"status": "error", "message": "no worker"}, "error in the stream: no worker"),
    ({"errors": [{"message": "no worker"}]}, "error in the stream: no worker"),
    (
        {"error": "Incomplete generation", "error_type": "incomplete_generation"},
        "error in the stream: Incomplete generation",
    ),
    ({**delta(content=""), "error": {"message": "gone"}}, "error in the stream: gone"),
    ("event: error\ndata: Internal Server Error\n\n", "error in the stream: Internal Server Error"),
    ('event: error\ndata: {"message": "gone"}\n\n', "error in the stream: gone"),
    ('error: {"code": 500, "message": "slot gone"}\n\n', "error in the stream: slot gone"),
    ('{"error": {"message": "not even an event"}}\n\n', "error in the stream: not even an event"),
    ('data: {"error": "a line\ndata:  of two"}\n\n', "error in the stream: a line of two"),
]


@pytest.mark.parametrize(("fault", "message"), ERRORS)
def test_whatever_says_it_is_an_error_fails_the_turn_with_the_servers_words(
    asked: Asked, fault: object, message: str
) -> None:
    event = fault if isinstance(fault, str) else data(fault)
    record = asked.turn([*tokens(4), (at(4), event + DONE, 0)])
    assert (record.error or "").startswith(message)
    assert record.error_source == "server"
    assert record.tokens_per_chunk == (1,) * 4


@pytest.mark.parametrize("nothing", [None, "", {}, [], False])
def test_an_error_field_that_is_empty_says_nothing(asked: Asked, nothing: object) -> None:
    writes = tokens(event=lambda number: data({**delta(content="a"), "error": nothing}))
    assert asked.is_true(asked.turn([*writes, *WHOLE]))


@pytest.mark.parametrize(
    "reason", ["stop", "length", "tool_calls", "function_call", "eos_token", "STOP", "MAX_TOKENS"]
)
def test_an_answer_is_whole_under_the_reasons_that_mean_so(asked: Asked, reason: str) -> None:
    record = asked.turn([*tokens(), *ending(data(finish(reason)), DONE)])
    assert asked.is_true(record)
    assert record.finish_reason == reason


def test_an_answer_shorter_than_planned_that_the_server_calls_whole_is_no_failure(
    asked: Asked,
) -> None:
    record = asked.turn([*tokens(4), *ending(data(finish("stop")), data(usage(7, 4)), DONE, num=4)])
    assert asked.is_true(record)
    assert (record.num_output_tokens, record.planned_output_tokens) == (4, 8)


def test_a_body_of_json_in_an_event_streams_clothes_is_told(asked: Asked) -> None:
    body = '{\n  "error": {\n    "message": "no such model"\n  }\n}'
    error = "error in the stream: no such model (fsbench: set model to one that it lists)"
    assert asked.turn([(0.0, body, 0)]).error == error
    assert "<html>" in (asked.turn([(0.0, "<html>oops</html>", 0)]).error or "")


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
CONTENTS: list[dict[str, Any]] = [
    {"content": [THINKING]},
    {"content": [{"type": "thinking", "thinking": "hm"}]},
    {"content": [{"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]}]},
    {"content": None, "reasoning_content": "hm"},
    {"content": "", "reasoning": "hm"},
    {"content": None, "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
    {"reasoning_content": None, "content": [{"type": "text", "text": "a"}]},
    {"content": ["a"]},
    {"content": {"type": "text", "text": "a"}},
    {"content": None, "tool_calls": [{"index": 0, "function": {"arguments": "{"}}]},
    {"content": None, "refusal": "no"},
    {"content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
]


@pytest.mark.parametrize("fields", CONTENTS)
def test_content_in_any_form_counts_as_a_token(asked: Asked, fields: dict[str, Any]) -> None:
    empty = {name: type(value)() if value else value for name, value in fields.items()}
    opening = [(0.0, data(delta(role="assistant", **empty)), 0)]
    record = asked.turn([*opening, *tokens(event=lambda _: data(delta(**fields))), *WHOLE])
    assert asked.is_true(record)
    assert record.num_output_tokens == NUM_TOKENS


@pytest.mark.parametrize(
    "halves", [('"\\ud83c"', '"\\udf89"'), ('"\\uD83D\\uDC80 \\ud83d"', '"\\udc80"')]
)
def test_half_an_emoji_a_chunk_is_read_and_put_together_for_the_next_prompt(
    asked: Asked, halves: tuple[str, str]
) -> None:
    def event(number: int) -> str:
        content = halves[number % 2]
        return f'data: {{"choices": [{{"index": 0, "delta": {{"content": {content}}}}}]}}\n\n'

    records = asked.turns([*tokens(event=event), *WHOLE], num=2)
    assert [record.error for record in records] == [None, None]
    assert asked.is_true(records[-1])


LINE_ENDS = ["\n", "\r\n", "\r"]


@pytest.mark.parametrize("line_end", LINE_ENDS)
@pytest.mark.parametrize("blank_lines", [0, 1, 2])
@pytest.mark.parametrize("start", ["", "\ufeff", ": hello", "\ufeff:", "retry: 3000"])
def test_a_stream_of_any_line_ends_is_read_as_it_arrives(
    asked: Asked, line_end: str, blank_lines: int, start: str
) -> None:
    def rewritten(text: str) -> str:
        return text.replace("\n\n", line_end * (1 + blank_lines))

    opening = [(0.0, f"{start}{line_end * 2}", 0)] if start else []
    writes = [*opening, *tokens(), (at(3), ": ping\n\n", 0), *WHOLE]
    record = asked.turn([(after_s, rewritten(text), num) for after_s, text, num in sorted(writes)])
    assert asked.is_true(record)
    assert len(record.token_at) == NUM_TOKENS
    assert record.num_output_tokens == NUM_TOKENS


@pytest.mark.parametrize(
    "kind",
    [
        "Text/Event-Stream; charset=UTF-8",
        "text/event-stream;charset=utf-8",
        "TEXT/EVENT-STREAM",
        "application/json",  # as some proxies call every stream
        "text/plain",
    ],
)
def test_a_media_type_is_read_without_its_case_and_parameters(asked: Asked, kind: str) -> None:
    assert asked.is_true(asked.turn([*tokens(), *WHOLE], content_type=kind))


def test_a_turn_ends_at_done_also_where_the_body_stays_open(asked: Asked) -> None:
    records = asked.turns([*tokens(), *WHOLE], num=3, is_left_open=True)
    assert [record.error for record in records] == [None] * 3
    for record in records:
        assert record.done_at == record.token_at[-1]  # `[DONE]` came with the last token's write
    assert asked.is_true(records[-1])


def test_a_turn_ends_a_moment_after_its_finish_reason_where_nothing_else_ends_it(
    asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("suite.driver.digest.LAST_WORDS_S", 0.3)
    writes = [*tokens(), *ending(data(finish()), data(usage(7, 8)))]
    record = asked.turn(writes, is_left_open=True)
    assert asked.is_true(record)
    assert record.num_output_tokens == NUM_TOKENS


USAGES: list[tuple[list[object], tuple[object, ...]]] = [
    # prompt, cached, output, hidden, counted by
    ([usage(7, 8)], (7, None, 8, None, "usage")),
    ([usage(7.0, "8")], (7, None, 8, None, "usage")),
    ([usage(7, 8, prompt_tokens_details={"cached_tokens": 4})], (7, 4, 8, None, "usage")),
    ([usage(7, 8, prompt_cache_hit_tokens=4)], (7, 4, 8, None, "usage")),
    ([usage(0, 0)], (None, None, None, None, "chunks")),
    ([usage(7, 0)], (7, None, None, None, "chunks")),
    ([usage(7, -1)], (7, None, None, None, "chunks")),
    ([usage(7, float("nan"))], (7, None, None, None, "chunks")),
    ([usage(7, float("-inf"))], (7, None, None, None, "chunks")),
    ([{"choices": [], "usage": None}], (None, None, None, None, "chunks")),
    ([usage(7, 4), usage(7, 8), usage(7, 8)], (7, None, 8, None, "usage")),
    ([usage(7, 8), usage(0, 0)], (7, None, 8, None, "usage")),
    ([usage(7, 8), {"choices": [], "usage": {}}], (7, None, 8, None, "usage")),
    (
        [usage(7, 508, completion_tokens_details={"reasoning_tokens": 500})],
        (7, None, 8, 500, "usage"),
    ),
    (  # counted beside the answer instead of in it
        [usage(7, 8, completion_tokens_details={"reasoning_tokens": 500})],
        (7, None, 8, 500, "usage"),
    ),
    ([usage(7, 8, completion_tokens_details={"reasoning_tokens": 0})], (7, None, 8, 0, "usage")),
    ([usage(7, 8, completion_tokens_details=None)], (7, None, 8, None, "usage")),
    ([{"usage": {"input_tokens": 7, "output_tokens": 8}}], (7, None, 8, None, "usage")),
    ([{"choices": [{"delta": {}, **usage(7, 8)}]}], (7, None, 8, None, "usage")),
    ([{"choices": [], "x_groq": usage(7, 8)}], (7, None, 8, None, "usage")),
    ([{"choices": [], "timings": {"predicted_n": 8, "cache_n": 3}}], (None, 3, 8, None, "usage")),
]  # fmt: skip


@pytest.mark.parametrize(("told", "expected"), USAGES)
def test_usage_is_found_where_servers_put_it(
    asked: Asked, told: list[object], expected: tuple[object, ...]
) -> None:
    ends = ending(data(finish()), *(data(each) for each in told), DONE)
    record = asked.turn([*tokens(), *ends])
    assert asked.is_true(record)
    found = (record.num_prompt_tokens, record.num_cached_tokens, record.num_output_tokens)
    assert (*found, record.num_hidden_tokens, record.counted_by) == expected


def test_thought_that_was_streamed_is_not_hidden(asked: Asked) -> None:
    told = usage(7, 8, completion_tokens_details={"reasoning_tokens": 8})
    writes = tokens(event=lambda _: data(delta(reasoning_content="hm")))
    record = asked.turn([*writes, *ending(data(finish()), data(told), DONE)])
    assert asked.is_true(record)
    assert (record.num_output_tokens, record.num_hidden_tokens) == (8, 0)


def test_without_usage_and_ids_chunks_are_counted_and_called_so(asked: Asked) -> None:
    fours = tokens(2, event=lambda _: data(delta(content="a b c d")))
    record = asked.turn([*fours, (at(1), DONE, 0)])
    assert asked.is_true(record)
    assert (record.num_output_tokens, record.counted_by) == (None, "chunks")


def test_of_several_answers_only_the_first_is_measured(asked: Asked) -> None:
    def both(number: int) -> str:
        return data(delta(0, content=f"a{number}")) + data(delta(1, content=f"b{number}"))

    early = [(at(0) - 0.02, data(delta(1, content="b")), 0)]
    other = {"choices": [{"index": 1, "delta": {}, "finish_reason": "abort"}]}
    ends = ending(data(finish()), data(other), data(usage(7, 16)), DONE)
    record = asked.turn([*early, *tokens(event=both), *ends])
    assert asked.is_true(record)
    assert len(record.token_at) == NUM_TOKENS
    assert (record.num_output_tokens, record.finish_reason) == (None, "length")


def test_numbers_that_are_no_json_are_read_all_the_same(asked: Asked) -> None:
    def event(number: int) -> str:
        choice = delta(content=f"a{number}")["choices"][0]
        choice["logprobs"] = {"content": [{"token": "a", "logprob": float("-inf")}]}
        return data({"choices": [choice], "created": 1e9, "cost": float("nan")})

    assert asked.is_true(asked.turn([*tokens(event=event), *WHOLE]))


@pytest.mark.parametrize(
    ("text", "culprit"),
    [
        (f'data: {{"id": "{"x" * 200}", "choices": [{{"index": 0, oops}}]}}\n\n', "oops"),
        (data({"id": "x" * 200, **delta(content=17)}), "choices[0].delta.content is 17"),
        (data({"id": "x" * 200, "choices": "none"}), "choices is 'none'"),
        (data({"id": "x" * 200, **usage(True, 8)}), "usage.prompt_tokens is True"),
    ],
)
def test_an_event_that_can_not_be_read_shows_its_culprit(
    asked: Asked, text: str, culprit: str
) -> None:
    record = asked.turn([*tokens(4), (at(4), text + DONE, 0)])
    assert culprit in (record.error or "")
    assert "xxxxxxxxxx" * 4 not in (record.error or "")


@pytest.mark.parametrize(
    "beat",
    [": keep-alive\n\n", "event: ping\ndata: now\n\n", "data:\n\n", data({"type": "ping"}), "\n\n"],
)
def test_heartbeats_are_no_tokens(asked: Asked, beat: str) -> None:
    beats: list[Write] = [(at(number) - 0.007, beat, 0) for number in range(NUM_TOKENS)]
    record = asked.turn(sorted([*beats, *tokens(), *WHOLE]))
    assert asked.is_true(record)
    assert len(record.token_at) == NUM_TOKENS


def test_an_event_cut_off_by_a_hang_up_is_no_token_and_no_culprit(asked: Asked) -> None:
    record = asked.turn([*tokens(4), (at(4), 'data: {"choices": [{"ind', 0)], is_hang_up=True)
    assert record.error == "the server closed the connection before the answer's end"
    assert len(record.token_at) == 4


@pytest.mark.parametrize("ends", [WHOLE, ending(data(finish()), data(usage(7, 8)))])
def test_a_hang_up_after_the_answer_is_no_failure(asked: Asked, ends: list[Write]) -> None:
    """The terminating chunk is missing, and that alone."""
    records = asked.turns([*tokens(), *ends], num=2, is_hang_up=True)
    assert [record.error for record in records] == [None, None]
    assert [record.num_output_tokens for record in records] == [NUM_TOKENS] * 2
    assert asked.is_true(records[-1])
    assert records[-1].done_at == records[-1].token_at[-1]
