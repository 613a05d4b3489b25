"""Requests that are refused: status, OpenAI's shape, and a message that says what to change."""

import asyncio

import pytest

from engines.serving import schemas
from tests.engines.serving.scripted_engine import ScriptedEngine
from tests.engines.serving.served import served

COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
USER = [{"role": "user", "content": "hi"}]


def post(path, body, **settings):
    async def main():
        async with served(ScriptedEngine, **settings) as server:
            status, reply = await server.post(path, body)
            assert server.engine.submitted == [] or status == 200
            return status, reply

    return asyncio.run(main())


def refusal(path, body, **settings):
    """Status, field and message of a request that must be refused."""
    status, reply = post(path, body, **settings)
    assert set(reply) == {"error"}
    assert set(reply["error"]) == {"message", "type", "param", "code"}
    return status, reply["error"]["param"], reply["error"]["message"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n", 2),
        ("best_of", 3),
        ("echo", True),
        ("suffix", "end"),
        ("logprobs", 0),
        ("logprobs", 5),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -1),
        ("repetition_penalty", 1.1),
        ("logit_bias", {"5": 1}),
        ("stop_token_ids", [3]),
        ("min_p", 0.1),
    ],
)
def test_a_field_that_would_change_the_answer_is_refused_by_name(field, value):
    status, param, message = refusal(COMPLETIONS, {"prompt": "hi", field: value})
    assert (status, param) == (400, field)
    assert message == f"{field} is not supported, got {value!r}; leave it out"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("logprobs", True),
        ("top_logprobs", 2),
        ("tools", [{"type": "function"}]),
        ("response_format", {"type": "json_object"}),
    ],
)
def test_a_chat_field_that_would_change_the_answer_is_refused_by_name(field, value):
    status, param, _ = refusal(CHAT, {"messages": USER, field: value})
    assert (status, param) == (400, field)


def test_the_same_fields_pass_while_they_ask_for_nothing():
    neutral = {
        "n": 1,
        "best_of": 1,
        "echo": False,
        "suffix": "",
        "logprobs": False,
        "presence_penalty": 0.0,
        "frequency_penalty": 0,
        "repetition_penalty": 1.0,
        "logit_bias": {},
        "response_format": {"type": "text"},
        "tools": [],
        "tool_choice": "auto",
        "user": "u",
        "metadata": {"k": "v"},
        "some_vendor_extension": 3,
        "stop": [],
        "top_k": -1,
    }
    status, _ = post(COMPLETIONS, {"prompt": "hi", **neutral})
    assert status == 200


@pytest.mark.parametrize(
    ("typo", "field"),
    [("temprature", "temperature"), ("max_token", "max_tokens"), ("priorty", "priority")],
)
def test_a_misspelt_field_is_refused_with_the_right_name(typo, field):
    status, param, message = refusal(COMPLETIONS, {"prompt": "hi", typo: 1})
    assert (status, param) == (400, typo)
    assert message == f"{typo} is not a field; did you mean {field}?"


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ""}, "stop"),
        ({"stop": ["a", ""]}, "stop.1: string should have at least 1 character, got ''"),
        ({"stop": ["a"] * 17}, "stop"),
        ({"priority": 1.5}, "priority"),
        ({"conversation_id": ""}, "conversation_id"),
        ({"conversation_id": "c" * 257}, "conversation_id"),
        ({"stream_options": {"include_usage": "yes"}}, "stream_options"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"min_tokens": 9, "max_tokens": 8}, "min_tokens"),
    ],
)
def test_a_value_out_of_range_is_refused_with_its_field(fields, where):
    status, param, message = refusal(COMPLETIONS, {"prompt": "hi", **fields})
    assert (status, param) == (400, where.partition(".")[0])
    assert message.startswith(where)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        (None, "prompt is missing; give it"),
        ("", "prompt must have at least one token, got none"),
        ([], "prompt must have at least one token, got none"),
        (["a", "b"], "prompt must be one prompt, got 2; send a request for each"),
        ([[1], [2]], "prompt must be one prompt, got 2; send a request for each"),
        ([1, "a"], "prompt must be a string or a list of token ids, got [1, 'a']"),
        ([True], "prompt must be a string or a list of token ids, got [True]"),
        ({"a": 1}, "prompt must be a string or a list of token ids, got {'a': 1}"),
        ([5, 257], "prompt: token ids must be from 0 to 256, got 257"),
        ([5, -1], "prompt: token ids must be from 0 to 256, got -1"),
    ],
)
def test_a_prompt_that_is_none_is_refused(prompt, says):
    assert refusal(COMPLETIONS, {"prompt": prompt}) == (400, "prompt", says)


@pytest.mark.parametrize(
    ("messages", "where"),
    [
        ([], "messages"),
        ([{"role": "tool", "content": "x"}], "messages.0.role"),
        ([{"role": "user"}], "messages.0.content"),
        (
            [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
            "messages.0.content.0.type: input should be 'text', got 'image_url'",
        ),
        ([{"role": "assistant", "content": "x"}], "messages: the first must not be"),
    ],
)
def test_messages_that_cannot_be_put_to_the_model_are_refused(messages, where):
    status, param, message = refusal(CHAT, {"messages": messages})
    assert (status, param) == (400, "messages")
    assert message.startswith(where)


def test_two_different_token_limits_are_refused():
    body = {"messages": USER, "max_tokens": 3, "max_completion_tokens": 4}
    status, _, message = refusal(CHAT, body)
    assert status == 400
    assert "give one" in message


def test_prompt_and_answer_beyond_the_context_are_refused_with_the_arithmetic():
    status, _, message = refusal(COMPLETIONS, {"prompt": [7] * 4000, "max_tokens": 100})
    assert status == 400
    assert "prompt 4000 + max_tokens 100 = 4100 tokens, the context has 4096" in message
    assert "at most 96" in message


def test_prompt_and_answer_that_just_fit_are_taken():
    status, reply = post(COMPLETIONS, {"prompt": [7] * 4000, "max_tokens": 96})
    assert status == 200
    assert reply["usage"]["total_tokens"] == 4096


@pytest.mark.parametrize("num_prompt", [4096, 5000])
def test_an_overlong_prompt_is_refused_never_truncated(num_prompt):
    status, _, message = refusal(COMPLETIONS, {"prompt": [7] * num_prompt})
    assert status == 400
    assert f"the prompt has {num_prompt} tokens" in message
    assert "4096" in message


def test_a_default_length_shrinks_to_what_the_context_leaves():
    _, reply = post(COMPLETIONS, {"prompt": [7] * 4090})
    assert reply["usage"]["completion_tokens"] == 6


@pytest.mark.parametrize("body", [b"", b"{", b"[1, 2]", b'"text"', b'{"prompt": NaN}', b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(body):
    status, _, message = refusal(COMPLETIONS, body)
    assert status == 400
    assert message.startswith("request body must be")


def test_a_body_that_is_not_encoded_as_it_says_is_refused():
    async def main():
        async with served() as server:
            headers = {"Content-Encoding": "gzip"}
            return await server.post(COMPLETIONS, b"no gzip", headers=headers)

    status, reply = asyncio.run(main())
    assert status == 400
    assert "Content-Encoding" in reply["error"]["message"]


def test_an_oversized_body_is_refused():
    body = b'{"prompt": "' + b"x" * 2000 + b'"}'
    status, _, message = refusal(COMPLETIONS, body, max_body_bytes=1000)
    assert status == 413
    assert message == "request body must be at most 1000 bytes; send less"


def test_an_unknown_model_is_not_found():
    status, param, message = refusal(COMPLETIONS, {"model": "big", "prompt": "hi"})
    assert (status, param) == (404, "model")
    assert message == "model 'big' is not served here; use 'bytes'"


def test_an_unknown_address_and_a_wrong_method_are_refused_in_the_same_shape():
    async def main():
        async with served() as server:
            lost = await server.post("/v1/embeddings", {})
            async with server.http.get(server.url(COMPLETIONS)) as response:
                return lost, (response.status, await response.json())

    lost, wrong = asyncio.run(main())
    assert lost[0] == 404
    assert lost[1]["error"]["message"].startswith("POST /v1/embeddings does not exist")
    assert wrong[0] == 405
    assert wrong[1]["error"]["message"] == "GET /v1/completions is not allowed; use POST"


@pytest.mark.parametrize("header", [None, "Bearer wrong", "secret", "Bearer sécret"])
def test_without_the_right_key_only_the_probes_answer(header):
    async def main():
        async with served(ScriptedEngine, api_key="secret") as server:
            headers = {} if header is None else {"Authorization": header}
            refused = await server.post(COMPLETIONS, {"prompt": "hi"}, headers=headers)
            assert (await server.post("/nowhere", {}, headers=headers))[0] == 401
            async with server.http.get(server.url("/health"), headers=headers) as response:
                return refused, response.status

    (status, reply), health = asyncio.run(main())
    assert status == 401
    assert reply["error"]["code"] == "invalid_api_key"
    assert health == 200


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_body_that_does_not_say_it_is_json_is_refused(path, kind):
    async def main():
        async with served(ScriptedEngine) as server:
            return await server.post(
                path, {"prompt": "hi", "messages": USER}, headers={"Content-Type": kind}
            )

    status, reply = asyncio.run(main())
    assert status == 415
    assert "Content-Type must be application/json, got" in reply["error"]["message"]


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_with_parameters_or_capitals_is_json(kind):
    async def main():
        async with served(ScriptedEngine) as server:
            return await server.post(COMPLETIONS, {"prompt": "hi"}, headers={"Content-Type": kind})

    assert asyncio.run(main())[0] == 200


def test_a_flood_of_unknown_fields_is_refused_before_any_is_looked_at(monkeypatch):
    monkeypatch.setattr(schemas, "_refuse_misspelt", lambda *_: pytest.fail("it was looked at"))
    flood = {f"x{i}": i for i in range(schemas.MAX_UNKNOWN + 1)}
    status, param, message = refusal(COMPLETIONS, {"prompt": "hi", "user": "u", **flood})
    assert (status, param) == (400, "x0")
    assert message.startswith("65 fields are unknown, more than 64, first 'x0'")


def test_some_unknown_fields_are_ignored_as_ever():
    few = {f"x{i}": i for i in range(schemas.MAX_UNKNOWN)}
    assert post(COMPLETIONS, {"prompt": "hi", **few})[0] == 200
