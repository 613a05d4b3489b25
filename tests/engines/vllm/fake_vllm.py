"""A stub of `vllm serve` that misbehaves as told: FAKE_VLLM names what goes wrong.

Standard library only, started as a program of its own. Whatever happens, it has first started a
worker that ignores SIGTERM, in a session of its own, as an engine core that outlives its server.
FAKE_VLLM_PIDS: a file that gets the ids of all its processes. FAKE_VLLM_SEEN: one that gets its
arguments and the requests' bodies, one JSON value a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FAULT = os.environ.get("FAKE_VLLM", "")
SEEN = os.environ.get("FAKE_VLLM_SEEN")
_lock = threading.Lock()
_num_streams = 0

WORKER = (
    "import signal, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "print('ready', flush=True)\n"
    "time.sleep(600)\n"
)


def see(value: object) -> None:
    if SEEN is not None:
        with _lock, Path(SEEN).open("a") as file:
            file.write(json.dumps(value) + "\n")


def metrics() -> str:
    n = _num_streams
    return (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0"} 1.0\n'
        "# TYPE vllm:kv_cache_usage_perc gauge\n"
        'vllm:kv_cache_usage_perc{engine="0"} 0.5\n'
        "# TYPE vllm:num_preemptions counter\n"
        f'vllm:num_preemptions_total{{engine="0"}} {7 + 3 * n}\n'
        "# TYPE vllm:prefix_cache_queries counter\n"
        f'vllm:prefix_cache_queries_total{{engine="0"}} {100 + 40 * n}\n'
        "# TYPE vllm:prefix_cache_hits counter\n"
        f'vllm:prefix_cache_hits_total{{engine="0"}} {10 * n}\n'
    )


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        root = "another's" if FAULT == "is_not_ours" else sys.argv[2]
        models = json.dumps({"data": [{"id": "tiny", "root": root}]})
        version = json.dumps({"version": "0.0.fake"})
        pages = {"/health": "", "/version": version, "/v1/models": models, "/metrics": metrics()}
        self._reply(200 if self.path in pages else 404, pages.get(self.path, "").encode())

    def do_POST(self) -> None:
        global _num_streams  # noqa: PLW0603
        if self.path == "/reset_prefix_cache":
            see("reset")
            self._reply(200 if os.environ.get("VLLM_SERVER_DEV_MODE") == "1" else 404, b"")
            return
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        see(body)
        if FAULT == "refuses_warm_up":
            self._reply(500, b"the model is not well")
        elif not body.get("stream"):
            self._reply(200, b"{}")
        elif FAULT == "dies_mid_run" and _num_streams >= 3:
            print("RuntimeError: the engine core is gone", flush=True)
            os._exit(3)
        else:
            with _lock:
                _num_streams += 1
            self._stream(body)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for number in range(body["max_tokens"]):
            if FAULT == "floods_its_log":
                print("x" * 100_000, flush=True)
            choice = {"index": 0, "text": "a", "token_ids": [300 + number]}
            self._event({"choices": [choice]})
        usage = {"prompt_tokens": len(body["prompt"]), "completion_tokens": body["max_tokens"]}
        self._event({"choices": [], "usage": usage})
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _event(self, chunk: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")

    def _reply(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


def main(arguments: list[str]) -> None:
    see(arguments)
    command = [sys.executable, "-I", "-S", "-c", WORKER]
    worker = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.readline()
    with Path(os.environ["FAKE_VLLM_PIDS"]).open("a") as file:
        file.write(f"{os.getpid()} {worker.pid}\n")
    if FAULT == "dies_at_start":
        print(
            "ValueError: 3 blocks are too few\nRuntimeError: Engine core initialization failed.",
            flush=True,
        )
        os._exit(1)
    if FAULT == "hangs_after_its_core_died":
        print("ValueError: no room", flush=True)
        print("RuntimeError: Engine core initialization failed. See root cause above.", flush=True)
        time.sleep(600)
    if FAULT == "dies_at_start_by_signal":
        os.kill(os.getpid(), signal.SIGSEGV)
    if (
        FAULT == "finds_its_port_taken"
        and len(Path(os.environ["FAKE_VLLM_PIDS"]).read_text().split()) == 2
    ):
        print("OSError: [Errno 98] Address already in use", flush=True)
        os._exit(1)
    if FAULT == "starts_slowly":
        time.sleep(0.4)
    if FAULT == "never_gets_ready":
        time.sleep(600)
    if FAULT == "hangs_at_shutdown":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if FAULT == "floods_its_log":
        print("\n".join(["y" * 100_000] * 200), flush=True)
    port = int(arguments[arguments.index("--port") + 1])
    ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
