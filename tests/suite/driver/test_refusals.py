"""A refusal that names a field of ours names our key, in words that servers really use."""

from __future__ import annotations

import pytest

from engines.openai import OpenAISettings
from engines.vllm.settings import VllmSettings
from suite.driver.faults import body_message
from suite.driver.refusals import KEYS, advice

SENT = {"model", "messages", "max_tokens", "temperature", "stream", "stream_options", "ignore_eos"}


@pytest.mark.parametrize(
    ("words", "status", "found"),
    [
        # OpenAI, Mistral's API, `transformers serve`, Azure
        ("Unrecognized request argument supplied: ignore_eos", 400, "set ignore_eos: false"),
        ("ignore_eos: Extra inputs are not permitted", 422, "set ignore_eos: false"),
        ("Unexpected fields in the request: {'ignore_eos'}", 422, "set ignore_eos: false"),
        ("Unknown parameter: 'stream_options'.", 400, "set omit: [stream_options]"),
        ("include_usage is not supported here", 400, "set omit: [stream_options]"),
        (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.",
            400,
            "set rename: {max_tokens: max_completion_tokens}",
        ),
        (
            "Unsupported value: 'temperature' does not support 0 with this model.",
            400,
            "set omit: [temperature]",
        ),
        # vLLM, OpenAI, llama.cpp, TGI
        (
            "This model's maximum context length is 2048 tokens. However, you requested 2100",
            400,
            "set conversations.max_context_tokens to 2048 or less",
        ),
        (
            "request (3000 tokens) exceeds the available context size (2048 tokens), try it",
            400,
            "set conversations.max_context_tokens to 2048 or less",
        ),
        (
            "`inputs` tokens + `max_new_tokens` must be <= 1512. Given: 1500 `inputs` tokens",
            422,
            "set conversations.max_context_tokens to 1512 or less",
        ),
        (
            "max_tokens is too large: 5000. This model supports at most 4096 completion tokens",
            400,
            "the answers asked for are longer than it gives: ask for shorter ones, conversations",
        ),
        ("default chat template is no longer allowed", 400, "set api: completions"),
        ("The model `gpt-9` does not exist", 404, "set model to one that it lists"),
        ("Not Found", 404, "set api: completions"),
        ("Method Not Allowed", 405, "set api: completions"),
        ("ignore_eos broke the engine", 500, None),
        ("the request was not good", 400, None),
        ("you may not ignore_eos_token here", 400, None),
    ],
)
def test_the_servers_words_tell_which_key_to_change(
    words: str, status: int, found: str | None
) -> None:
    got = advice(words, status=status, api="chat", sent=SENT)
    assert (got is None) if found is None else (got is not None and found in got), got


def test_every_key_that_is_advised_is_one_of_an_engine() -> None:
    known = OpenAISettings.model_fields.keys() | VllmSettings.model_fields.keys()
    assert {advised.partition(":")[0] for advised in KEYS.values()} <= known


def test_only_what_was_sent_is_advised_on() -> None:
    words = "Unrecognized request argument supplied: ignore_eos"
    assert advice(words, status=400, api="chat", sent=SENT - {"ignore_eos"}) is None


def test_each_field_that_is_named_is_told() -> None:
    words = "Unexpected fields in the request: {'ignore_eos', 'cache_salt', 'top_h'}"
    sent = SENT | {"cache_salt", "top_h"}
    assert advice(words, status=422, api="chat", sent=sent) in {
        "set ignore_eos: false, cache_salt: false and leave top_h out of extra_body",
        "set cache_salt: false, ignore_eos: false and leave top_h out of extra_body",
    }


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("Got priority 3 but priority scheduling is not enabled.", "set priority: false"),
        ("Extra inputs are not permitted: cache_salt", "set cache_salt: false"),
        ("return_token_ids is unknown", "set prompts: text"),
        ("prompt must be a string", "set prompts: text"),
    ],
)
def test_fields_of_engines_have_their_own_keys(words: str, found: str) -> None:
    sent = {"prompt", "priority", "cache_salt", "return_token_ids"}
    assert advice(words, status=400, api="completions", sent=sent) == found


@pytest.mark.parametrize(
    "body",
    [
        b'{"detail": [{"type": "extra_forbidden", "loc": ["body", "ignore_eos"], '
        b'"msg": "Extra inputs are not permitted", "input": true}]}',
        b'{"error": {"message": "Extra inputs are not permitted", "param": "ignore_eos"}}',
    ],
)
def test_the_field_that_stands_beside_the_words_is_told_with_them(body: bytes) -> None:
    assert body_message(body) == "ignore_eos: Extra inputs are not permitted"
