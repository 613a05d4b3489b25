"""Keys and passwords are known by where they stand, and stand in no text that is written down."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.secrets import hidden, is_secret_name, shown_url, without_secrets

SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=30)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "api-key",
        "X-API-Key",
        "apiKey",
        "x-goog-api-key",
        "Cookie",
        "token",
        "access_token",
        "X-Auth-Token",
        "client_secret",
        "password",
        "Proxy-Authorization",
        "sig",
        "jwt",
        "engines.a.headers.api-key",
    ],
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "max_tokens",
        "stop_token_ids",
        "eos_token",
        "kv_tokens",
        "api_key_env",
        "api-version",
        "monkey",
        "X-Team",
        "user",
        "cache_salt",
        "signal",
        "tokenizer",
        "prompt_tokens",
        "keys",
    ],
)
def test_names_of_what_is_none(name: str) -> None:
    assert not is_secret_name(name)


@given(password=SECRET, key=SECRET)
def test_a_url_is_shown_without_what_is_secret(password: str, key: str) -> None:
    parts = quote(password, safe=""), quote(key, safe="")
    url = "https://me:{}@h:8000/v1?api-version=3&api-key={}&x=y".format(*parts)
    shown = shown_url(f"no answer from {url} (timed out)")
    assert shown == (
        "no answer from https://***@h:8000/v1?api-version=3&api-key=***&x=y (timed out)"
    )
    assert without_secrets({"a": [{"base_url": url}]}) == {"a": [{"base_url": shown[15:-12]}]}


@given(key=SECRET)
def test_settings_are_written_without_keys_and_with_the_names_of_variables(key: str) -> None:
    settings = {
        "headers": {"Authorization": f"Bearer {key}", "X-Team": "blue", "api-key": "${env:KEY}"},
        "extra_body": {"api_key": key, "max_tokens": 3, "stop": ["</s>"]},
    }
    assert without_secrets(settings) == {
        "headers": {"Authorization": "***", "X-Team": "blue", "api-key": "${env:KEY}"},
        "extra_body": {"api_key": "***", "max_tokens": 3, "stop": ["</s>"]},
    }


@given(key=SECRET, before=st.text(), after=st.text())
def test_what_a_server_says_is_shown_without_the_key(key: str, before: str, after: str) -> None:
    assert key not in hidden(f"{before}{key}{after}", [key]).replace("***", "\0")


def test_a_secret_within_another_leaves_nothing_of_it() -> None:
    assert hidden("got Bearer sk-12345", ["sk-12345", "Bearer sk-12345"]) == "got ***"
    assert hidden("a cat", ["a"]) == "a cat"  # too short to be told from words


@given(key=SECRET, num=st.integers(4, 30))
def test_a_secret_at_which_a_text_was_cut_is_hidden_too(key: str, num: int) -> None:
    assert hidden(f"the key {key[:num]}…", [key]) == "the key ***…"
