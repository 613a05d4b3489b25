"""What a server offers against a warm cache, asked over real sockets; and what the file may say."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import ValidationError

from engines.errors import EngineInputError
from engines.openai import OpenAISettings
from engines.separation import Reset, Server, is_vllm_with_salt, separate
from engines.vllm.command import environment
from engines.vllm.settings import VllmSettings

VLLM = '{"data": [{"id": "m", "owned_by": "vllm"}]}'
OTHER = '{"data": [{"id": "m", "owned_by": "llamacpp"}]}'
BASE = "http://127.0.0.1:9/v1"


class Seen(list[tuple[str, str, str | None]]):
    """Method, path and key of each request."""


@contextmanager
def pages(answers: dict[str, str | int], seen: Seen | None = None) -> Iterator[Server]:
    """A page by path, or a status without one."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            if seen is not None:
                seen.append((self.command, self.path, self.headers["Authorization"]))
            found = answers.get(self.path, 404)
            status, content = (found, b"") if isinstance(found, int) else (200, found.encode())
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = _answer  # noqa: N815 - http.server's names
        do_POST = _answer  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield Server(f"http://127.0.0.1:{httpd.server_port}/v1", "s3cret", 5.0)
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


@pytest.mark.parametrize(
    ("models", "version", "takes_it"),
    [
        (VLLM, '{"version": "0.11.0"}', True),
        (VLLM, '{"version": "0.9.0.1"}', True),
        (VLLM, '{"version": "1.2.3+cu128"}', True),
        (VLLM, '{"version": "0.8.5"}', False),
        (VLLM, '{"version": "dev"}', False),
        (VLLM, "[]", False),
        (VLLM, 404, False),
        (OTHER, '{"version": "0.11.0"}', False),
        ('{"data": []}', '{"version": "0.11.0"}', False),
        ('{"data": ["m"]}', '{"version": "0.11.0"}', False),
        ("<html>", '{"version": "0.11.0"}', False),
        (404, '{"version": "0.11.0"}', False),
    ],
)
def test_a_salt_is_sent_to_a_vllm_that_knows_it_and_to_nobody_else(
    models: str | int, version: str | int, takes_it: bool
) -> None:
    with pages({"/v1/models": models, "/version": version}) as server:
        assert is_vllm_with_salt(server) is takes_it
        found = separate("mine", "isolate", server, cache_salt="auto")
        assert found == ("cache_salt" if takes_it else "words")


def test_the_files_word_counts_more_than_the_servers_and_nobody_is_asked() -> None:
    nobody = Server(BASE, None, 1.0)
    assert separate("mine", "isolate", nobody, cache_salt=True) == "cache_salt"
    assert separate("mine", "isolate", nobody, cache_salt=False) == "words"
    assert separate("mine", "shared", nobody, cache_salt="auto") == "shared"


def test_a_reset_goes_to_the_servers_root_with_the_key() -> None:
    seen = Seen()
    with pages({"/reset_prefix_cache": ""}, seen) as server:
        wanted = Reset(reset="POST /reset_prefix_cache")
        assert separate("mine", wanted, server, cache_salt="auto") == "reset"
    assert seen == [("POST", "/reset_prefix_cache", "Bearer s3cret")]


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_reset_that_is_refused_ends_the_trial_in_one_line_with_the_status(status: int) -> None:
    with (
        pages({"/flush_cache": status}) as server,
        pytest.raises(
            EngineInputError, match=rf"POST {server.root_url('/')}flush_cache answers {status}"
        ),
    ):
        separate("mine", Reset(reset="POST /flush_cache"), server, cache_salt="auto")


def test_a_reset_that_nobody_hears_is_told() -> None:
    with pytest.raises(EngineInputError, match=r"gives no answer \(.*\); is the server up"):
        separate("mine", Reset(reset="GET /x"), Server(BASE, None, 1.0), cache_salt="auto")


@pytest.mark.parametrize(
    "value",
    ["none", 3, None, {}, {"reset": "flush"}, {"reset": "POST flush"}, {"reset": 1}, {"rest": "x"}],
)
def test_another_word_is_answered_with_all_three_in_one_line(value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        OpenAISettings.model_validate({"base_url": BASE, "prefix_cache": value})
    [error] = caught.value.errors()
    assert "must be isolate, shared or {reset:" in error["msg"]
    assert repr(value) in error["msg"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cache_salt": True, "prefix_cache": "shared"}, "needs prefix_cache: isolate"),
        ({"extra_body": {"cache_salt": "mine"}}, "extra_body.cache_salt is the same for all"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    fields: dict[str, object], message: str
) -> None:
    settings = OpenAISettings.model_validate({"base_url": BASE, **fields})
    with pytest.raises(EngineInputError, match=message):
        settings.resolve(None)


def test_a_vllm_of_ours_has_the_endpoint_only_where_it_is_asked_for() -> None:
    plain = VllmSettings(kv_tokens=64, model="m")
    reset = VllmSettings(kv_tokens=64, model="m", prefix_cache=Reset(reset="POST /x"))
    for settings, expected in ((plain, None), (reset, "1")):
        found = environment(settings, priorities=None, counters=Path("counters.npy"), policies=None)
        assert found.get("VLLM_SERVER_DEV_MODE") == expected
