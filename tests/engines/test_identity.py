"""Which software answers at a URL, by the pages that servers really have."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from engines.identity import ServerIdentity, identify
from engines.separation import Server


@contextmanager
def pages(told: dict[str, Any], header: str | None = None, delay_s: float = 0.0) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = header or "", ""

        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            time.sleep(delay_s)
            found = told.get(self.path)
            content = found if isinstance(found, bytes) else json.dumps(found).encode()
            with contextlib.suppress(ConnectionError):  # nobody waits for ever
                self.send_response(404 if found is None else 200)
                self.end_headers()
                self.wfile.write(content)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{httpd.server_port}/v1"
    finally:
        httpd.shutdown()
        thread.join()
        httpd.server_close()


def identity(told: dict[str, Any], header: str | None = None) -> ServerIdentity:
    with pages(told, header) as url:
        return identify(Server(url, None, 2.0), "m", is_thorough=True)


def models(owner: str, **more: Any) -> dict[str, Any]:
    return {"/v1/models": {"data": [{"id": "other"}, {"id": "m", "owned_by": owner, **more}]}}


@pytest.mark.parametrize(
    ("told", "software", "version"),
    [
        ({**models("vllm"), "/version": {"version": "0.32.0"}}, "vLLM", "0.32.0"),
        ({**models("fsbench"), "/version": {"version": "0.1.0"}}, "fsbench", "0.1.0"),
        ({**models("me"), "/props": {"total_slots": 1, "build_info": "b7-a"}}, "llama.cpp", "b7-a"),
        ({"/get_server_info": {"model_path": "x", "version": "0.5"}}, "SGLang", "0.5"),
        ({"/info": {"model_id": "x", "version": "3.1", "max_total_tokens": 9}}, "TGI", "3.1"),
        ({"/api/version": {"version": "0.9.1"}}, "Ollama", "0.9.1"),
        ({"/health/readiness": {"litellm_version": "1.80"}}, "LiteLLM", "1.80"),
        ({"/openapi.json": {"info": {"title": "My server", "version": "2"}}}, "My server", "2"),
        (
            {"/openapi.json": {"paths": {"/load_model": 1, "/v1/chat/completions": 1}}},
            "transformers serve",
            None,
        ),
        # What says nothing of itself: a framework's names, pages of others, no JSON.
        ({"/openapi.json": {"info": {"title": "FastAPI", "version": "0.1.0"}}}, None, None),
        ({**models("me"), "/version": {"version": "7"}}, None, None),
        ({"/v1/models": b"<html>", "/props": b"[1]", "/info": b"\xff"}, None, None),
        ({"/v1/models": {"data": "none"}}, None, None),
        ({}, None, None),
    ],
)
def test_each_server_is_known_by_its_own_page(
    told: dict[str, Any], software: str | None, version: str | None
) -> None:
    found = identity(told)
    assert (found.software, found.version) == (software, version)


def test_the_model_s_entry_tells_its_context_and_its_source() -> None:
    found = identity({**models("vllm", max_model_len=2048, root="/m/llama")})
    assert (found.context_tokens, found.model_source) == (2048, "/m/llama")
    found = identity({**models("llamacpp", meta={"n_ctx": 512})})
    assert found.context_tokens == 512


def test_the_server_header_counts_where_no_page_tells() -> None:
    assert identity({}, "llama.cpp").software == "llama.cpp"
    found = identity({}, "uvicorn")
    assert found.software is None
    assert found.text == "a server that does not name itself (Server: uvicorn)"


def test_a_page_that_costs_a_server_work_is_not_asked_before_a_run() -> None:
    told = {"/openapi.json": {"info": {"title": "My server", "version": "2"}}}
    with pages(told) as url:
        assert identify(Server(url, None, 2.0), "m").software is None


def test_what_a_server_says_is_one_short_line() -> None:
    found = identity({"/api/version": {"version": "1\n2" + "x" * 999}})
    assert found.text is not None and "\n" not in found.text and len(found.text) < 300


def test_nobody_who_hangs_or_is_gone_holds_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.identity.LOOK_TIMEOUT_S", 0.1)
    with pages(models("vllm"), delay_s=1.0) as url:
        began_at = time.monotonic()
        assert identify(Server(url, None, 2.0), "m") == ServerIdentity()
        assert time.monotonic() - began_at < 0.9, "one page was waited for, not all"
    assert identify(Server("http://127.0.0.1:9/v1", None, 2.0), "m") == ServerIdentity()
