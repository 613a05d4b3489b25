"""What an answer says in envelopes, numbers, fields and heads beyond the usual ones: each case is
read from the bytes of a response as they would arrive."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from suite.driver.answer import Answer
from suite.driver.answer_reader import AnswerReader
from suite.driver.http1 import Response

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
DONE = "data: [DONE]\n\n"


def data(value: object) -> str:
    return f"data: {json.dumps(value)}\n\n"


def chunk(reason: Any = None, /, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def usage(completion: Any, **more: Any) -> str:
    return data(
        {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": completion, **more}}
    )


TOKENS = [data(chunk(content=f" w{number}")) for number in range(8)]
ENDING = [data(chunk("length")), usage(8), DONE]


def read(events: Sequence[str], head: str = HEAD) -> Answer:
    response = Response()
    reader = AnswerReader(response)
    for number, text in enumerate([head + "\r\n", *events]):
        response.feed(text.encode(), number)
        while reader.read_some(64):
            pass
    response.feed_end()
    while reader.read_some(64):
        pass
    reader.conclude()
    return reader.answer


def is_whole(answer: Answer) -> bool:
    return answer.error is None and (len(answer.token_reads), answer.num_output_tokens) == (8, 8)


@pytest.mark.parametrize(
    ("event", "words"),
    [
        ({"statusCode": 429, "message": "slow down"}, "slow down"),
        ({"choices": [], "code": "500", "message": "slow down"}, "slow down"),
        ({"error_code": "REQUEST_LIMIT", "message": "slow down"}, "slow down"),
        ({"errcode": 5, "errmsg": "slow down"}, "slow down"),
        ({"fault": {"faultstring": "slow down"}}, "slow down"),
        ({"internalServerException": {"message": "gone"}}, "gone"),
        ({"Message": "gone", "Code": "InternalFailure"}, "gone"),
        ({"errorMessage": "gone", "errorType": "Runtime"}, "gone"),
        ({"Error": "gone"}, "gone"),
        ({"base_resp": {"status_code": 1008, "status_msg": "no money"}}, "no money"),
        ({"message": "gone", "type": "internal_error", "param": None, "code": None}, "gone"),
        ({"type": "response.failed", "response": {"error": {"message": "gone"}}}, "gone"),
        (chunk(error={"message": "gone"}), "gone"),
        ({"success": False, "choices": [], "message": "gone"}, "gone"),
        ({"object": "error.response", "message": "gone"}, "gone"),
        ('event: failed\ndata: {"reason": "gone"}\n\n', "gone"),
        ("event: Exception\ndata: gone\n\n", "gone"),
        ("Internal Server Error\n\n", "Internal Server Error"),
    ],
)
def test_an_error_is_one_in_whatever_envelope(event: object, words: str) -> None:
    text = event if isinstance(event, str) else data(event)
    assert read([*TOKENS[:4], text, DONE]).error == f"error in the stream: {words}"


def test_the_words_beside_a_finish_reason_are_kept() -> None:
    reason = {"type": "abort", "message": "no room in the queue"}
    error = read([*TOKENS[:4], data(chunk(reason)), DONE]).error
    assert error == "the server ended the answer with finish_reason 'abort': no room in the queue"


@pytest.mark.parametrize(
    "beside",
    [
        {"error": {"message": "", "type": None, "code": 0}},
        {"error_code": 0, "error_msg": "", "message": "ok", "success": True},
        {"base_resp": {"status_code": 0, "status_msg": "success"}},
        {"status": 200, "code": 0, "msg": "success"},
    ],
)
def test_fields_of_an_error_that_there_is_not_say_nothing(beside: dict[str, Any]) -> None:
    tokens = [data({**chunk(content=" a"), **beside}) for _ in range(8)]
    assert is_whole(read([*tokens, *ENDING]))


@pytest.mark.parametrize(
    "event",
    [
        data({"message": "queued", "status": "pending"}),
        data({"code": 0, "msg": "success"}),
        "data: null\n\n",
        'data: ""\n\n',
        data(chunk(annotations=[{"type": "url_citation"}])),
        data(
            {"object": "chat.completion", "choices": [{"index": 0, "message": {"content": "all"}}]}
        ),
    ],
)
def test_what_is_no_token_and_no_error_is_neither(event: str) -> None:
    assert is_whole(read([*TOKENS, event, *ENDING]))


def test_a_stream_of_messages_is_read_message_by_message() -> None:
    tokens = [
        data({"choices": [{"index": 0, "message": {"content": f" w{number}"}}]})
        for number in range(8)
    ]
    assert is_whole(read([*tokens, *ENDING]))


@pytest.mark.parametrize("none", ["", "null", "None"])
def test_a_finish_reason_that_says_none_is_none(none: str) -> None:
    answer = read([*(data(chunk(none, content=" a")) for _ in range(8)), *ENDING])
    assert is_whole(answer)
    assert answer.finish_reason == "length"


@pytest.mark.parametrize(
    "reason",
    ["max_new_tokens", "MAX_OUTPUT_TOKENS", "tool-calls", "FINISH_REASON_STOP", "stop_str"],
)
def test_more_names_of_a_whole_answers_end(reason: str) -> None:
    assert is_whole(read([*TOKENS, data(chunk(reason)), usage(8), DONE]))


@pytest.mark.parametrize("last", ['data: "[DONE]"\n\n', "data: [done]\n\n", "DATA: [DONE]\n\n"])
def test_done_is_done_however_it_is_written(last: str) -> None:
    answer = read([*TOKENS, *ENDING[:-1], last])
    assert is_whole(answer)
    assert answer.end_read is not None


@pytest.mark.parametrize("before", ["\ufeff", " ", "\t"])
def test_what_stands_before_a_field_hides_no_token(before: str) -> None:
    assert is_whole(read([before + text for text in [*TOKENS, *ENDING]]))


@pytest.mark.parametrize(
    ("told", "expected"),
    [("8", 8), ("8.0", 8), (" 8 ", 8), ("-1", None), ("NaN", None), ("", None), ("null", None)],
)
def test_a_count_in_quotes_is_a_count(told: str, expected: int | None) -> None:
    answer = read([*TOKENS, data(chunk("length")), usage(told), DONE])
    assert (answer.error, answer.num_output_tokens) == (None, expected)


def test_usage_that_each_chunk_tells_of_itself_alone_is_not_the_answers() -> None:
    each = {"prompt_tokens": 7, "completion_tokens": 1}
    tokens = [data({**chunk(content=" a"), "usage": each}) for _ in range(8)]
    answer = read([*tokens, data(chunk("length")), DONE])
    assert (answer.error, answer.num_output_tokens, answer.counted_by) == (None, None, "chunks")


def test_where_all_that_is_counted_is_hidden_what_came_is_counted_by_chunks() -> None:
    hidden = usage(508, completion_tokens_details={"reasoning_tokens": 508})
    answer = read([*TOKENS, data(chunk("length")), hidden, DONE])
    assert (answer.num_hidden_tokens, answer.counted_by) == (508, "chunks")


@pytest.mark.parametrize("coding", ["none", "utf-8", "", "Identity", "identity, identity"])
def test_an_encoding_that_compresses_nothing_is_none(coding: str) -> None:
    assert is_whole(read([*TOKENS, *ENDING], HEAD + f"Content-Encoding: {coding}\r\n"))


@pytest.mark.parametrize("coding", ["gzip", "BR", "identity, zstd"])
def test_a_compressed_stream_is_refused(coding: str) -> None:
    error = read([*TOKENS, *ENDING], HEAD + f"Content-Encoding: {coding}\r\n").error
    assert (error or "").startswith("the stream is compressed")


def test_a_redirection_says_where_to() -> None:
    head = "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://here/v1\r\n"
    assert read([], head).error == "307 Temporary Redirect: (to http://here/v1)"
