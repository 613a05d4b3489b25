from __future__ import annotations

from typing import Any

import orjson
import pytest

from suite.driver.answer import Answer
from suite.driver.answer_reader import AnswerReader
from suite.driver.http1 import Response

STREAM = "text/event-stream"


def answer_to(*chunks: Any, status: str = "200 OK", kind: str = STREAM, head: str = "") -> Answer:
    """Each chunk comes with a read of its own; the head with read 0."""
    response = Response()
    response.feed(f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{head}\r\n".encode(), 0)
    for chunk in chunks:
        data = chunk if isinstance(chunk, bytes) else b"data: " + orjson.dumps(chunk) + b"\n\n"
        response.feed(data, 0)
    response.feed_end()
    reader = AnswerReader(response)
    while reader.read_some(1):
        pass
    reader.conclude()
    return reader.answer


def completion(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "text": text, "finish_reason": None, **more}]}


def chat(**delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]}


def test_token_ids_count_tokens_even_where_the_text_is_empty() -> None:
    answer = answer_to(completion("", token_ids=[5]), completion("é", token_ids=[6, 7]))
    assert answer.tokens_per_chunk == [1, 2]
    assert answer.token_ids == [5, 6, 7]
    assert answer.has_token_ids
    assert answer.token_reads == [1, 2]


def test_without_ids_a_chunk_with_text_counts_one() -> None:
    answer = answer_to(completion("a b"), completion(""), completion("c"))
    assert answer.tokens_per_chunk == [1, 1]
    assert not answer.has_token_ids
    assert "".join(answer.text) == "a bc"


def test_the_role_only_first_and_the_usage_only_last_chunk_are_no_tokens() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 2,
        "prompt_tokens_details": {"cached_tokens": 4},
    }
    answer = answer_to(
        chat(role="assistant", content=""),
        chat(content="a"),
        chat(content="b"),
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]},
        {"choices": [], "usage": usage},
        b"data: [DONE]\n\n",
    )
    assert answer.token_reads == [2, 3]
    assert (answer.num_prompt_tokens, answer.num_cached_tokens, answer.num_output_tokens) == (
        9,
        4,
        2,
    )
    assert answer.finish_reason == "length"
    assert answer.is_done
    assert answer.error is None


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thought_is_output_but_not_history(field: str) -> None:
    answer = answer_to(chat(**{field: "hm"}), chat(content="a"))
    assert answer.tokens_per_chunk == [1, 1]
    assert "".join(answer.text) == "a"


def test_reads_with_two_chunks_of_tokens_are_counted_as_coalesced() -> None:
    both = b"".join(b"data: " + orjson.dumps(completion(text)) + b"\n\n" for text in "ab")
    three = both + b"data: " + orjson.dumps(completion("c")) + b"\n\n"
    assert answer_to(both, completion("d"), three).num_coalesced == 2


def test_an_error_in_the_stream_keeps_the_tokens_before_it() -> None:
    answer = answer_to(completion("a"), {"error": {"message": "out\nof  memory", "code": 500}})
    assert answer.error == "error in the stream: out of memory"
    assert answer.tokens_per_chunk == [1]


@pytest.mark.parametrize(
    ("chunk", "message"),
    [
        (b"data: {nope}\n\n", "an event is not JSON"),
        (b"data: [1]\n\n", "not a JSON object"),
        (b'data: {"choices": [7]}\n\n', "unknown shape"),
        (b'data: {"choices": [{"text": [7]}]}\n\n', "unknown shape"),
        (b'data: {"choices": [{"text": "a", "finish_reason": 7}]}\n\n', "unknown shape"),
        (b'data: {"choices": [{"text": "a", "token_ids": ["7"]}]}\n\n', "unknown shape"),
        (b'data: {"choices": [{"text": "a", "token_ids": [2147483648]}]}\n\n', "unknown shape"),
        (b'data: {"usage": {"prompt_tokens": [5]}}\n\n', "unknown shape"),
        (b'event: error\ndata: {"message": "gone"}\n\n', "error in the stream: gone"),
        (b'data: {"error": "text only"}\n\n', "error in the stream: text only"),
    ],
)
def test_what_is_not_understood_is_an_error(chunk: bytes, message: str) -> None:
    assert message in (answer_to(chunk).error or "")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "too long"}}', "400 Bad Request: too long"),
        (b'{"object": "error", "message": "too long"}', "400 Bad Request: too long"),
        (b'{"detail": "too long"}', "400 Bad Request: too long"),
        (b"<html>too long", "400 Bad Request: <html>too long"),
    ],
)
def test_a_refusal_is_told_in_the_servers_words(body: bytes, message: str) -> None:
    assert answer_to(body, status="400 Bad Request").error == message


def test_a_refusal_for_load_says_when_to_come_back() -> None:
    answer = answer_to(b'{"error": "busy"}', status="429 Too Many", head="Retry-After: 3\r\n")
    assert answer.error == "429 Too Many: busy (Retry-After: 3)"


def test_an_answer_that_is_no_stream_is_an_error() -> None:
    answer = answer_to(b'{"error": {"message": "no"}}', kind="application/json")
    assert answer.error == "expected an event stream, got 'application/json': no"


def test_a_compressed_stream_is_an_error_that_says_so() -> None:
    answer = answer_to(b"\x1f\x8b...", head="Content-Encoding: gzip\r\n")
    assert answer.error == "the stream is compressed (gzip), which was not asked for"


def test_heartbeats_without_data_say_nothing() -> None:
    answer = answer_to(b"data:\n\n", completion("a"), b"data: [DONE] \n\n")
    assert answer.error is None
    assert answer.token_reads == [2]
    assert answer.is_done


def test_errors_stay_on_one_line_of_bounded_length() -> None:
    error = answer_to(b"x\n" * 5000, status="500 Oops").error
    assert error is not None
    assert "\n" not in error
    assert len(error) <= 300
