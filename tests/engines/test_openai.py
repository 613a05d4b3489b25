"""Attaching to a server that is already there, over real sockets."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from engines.api import Endpoint
from engines.arrow_log import read_arrow_logs
from engines.errors import EngineError, EngineInputError
from engines.openai import OpenAISettings


@contextmanager
def server(status: int, body: object, seen: list[str | None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            payload = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        def log_message(self, *_: object) -> None: ...

    httpd = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def attach(base_url: str, **fields: Any) -> Endpoint:
    settings = OpenAISettings(base_url=base_url, **fields)
    with settings.running(name="mine", directory=Path(), priorities=None) as engine:
        return engine.endpoint


def models(*names: str) -> dict[str, object]:
    return {"data": [{"id": name} for name in names]}


def test_the_only_model_of_a_server_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "secret")
    seen: list[str | None] = []
    with server(200, models("llama"), seen) as url:
        endpoint = attach(url + "/", api_key_env="MY_KEY", extra_body={"top_k": 1})
    assert (endpoint.base_url, endpoint.model, endpoint.api_key) == (url, "llama", "secret")
    assert endpoint.extra_body == {"ignore_eos": True, "top_k": 1}
    assert set(seen) == {"Bearer secret"}


@pytest.mark.parametrize(
    ("status", "body", "fields", "message"),
    [
        (200, models("a", "b"), {}, "lists 2 models; set engines.mine.model to one of: a, b"),
        (200, models(), {}, "lists no models; set engines.mine.model"),
        (200, models("a"), {"model": "c"}, "no model 'c'; set engines.mine.model to one of: a"),
        (401, {}, {}, "answers 401 Unauthorized; it wants a key: export it in an environment"),
        (401, {}, {}, "variable and name that, engines.mine.api_key_env=VARIABLE"),
        (403, {}, {"api_key_env": "HOME"}, "403 Forbidden; is the key in HOME right?"),
        (404, {}, {}, "404 Not Found; engines.mine.base_url mostly ends in /v1"),
        (500, {}, {}, "answers 500 Internal Server Error; look at the server's log"),
        (200, b"<html>", {}, "does not list models as OpenAI's API does"),
        (
            200,
            models("a"),
            {"api_key_env": "UNSET_KEY"},
            "variable UNSET_KEY is not set; export it",
        ),
    ],
)
def test_a_server_that_can_not_be_used_is_told_in_one_line(
    status: int, body: object, fields: dict[str, Any], message: str
) -> None:
    with server(status, body, []) as url, pytest.raises((EngineError, EngineInputError)) as caught:
        attach(url, **fields)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_lists_no_models_is_taken_at_the_files_word(status: int) -> None:
    with server(status, {}, []) as url:
        assert attach(url, model="mine").model == "mine"


def test_the_servers_metrics_page_is_kept_where_it_is_named(tmp_path: Path) -> None:
    page = b"# TYPE vllm:num_preemptions counter\nvllm:num_preemptions_total 4.0\n"
    with server(200, models("a"), []) as url, server(200, page, []) as metrics_url:
        settings = OpenAISettings(base_url=url, metrics_url=metrics_url)
        with settings.running(name="mine", directory=tmp_path, priorities=None):
            pass
    rows = read_arrow_logs([tmp_path / "server_metrics.arrows"]).to_pylist()
    assert len(rows) >= 2  # before and after, and each second
    assert {row["num_preemptions"] for row in rows} == {4}
    assert {row["num_running"] for row in rows} == {None}


def test_nobody_listening_says_what_to_do() -> None:
    with pytest.raises(
        EngineError,
        match=r"\(Connection refused\); start the server or mend engines\.mine\.base_url; ",
    ):
        attach("http://127.0.0.1:9/v1")


def test_tls_where_there_is_none_says_what_to_do() -> None:
    expected = pytest.raises(EngineError, match="without TLS has a base_url with http://")
    with server(200, models("a"), []) as url, expected:
        attach(url.replace("http:", "https:"))


def test_chat_takes_no_token_ids() -> None:
    settings = OpenAISettings(base_url="http://127.0.0.1:9/v1", api="chat", prompts="token_ids")
    with pytest.raises(EngineInputError, match="set prompts: text"):
        settings.resolve(None)
