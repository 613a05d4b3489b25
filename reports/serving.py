"""A report over HTTP on loopback, for a browser on another machine behind a tunnel."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def serve_page(page: Path, port: int, on_ready: Callable[[str], None]) -> None:
    """Serves this one file and nothing beside it, until interrupted; port 0 takes a free one.
    `on_ready` gets the address."""

    class OnePage(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in ("/", f"/{page.name}"):
                self.send_error(404)
                return
            body = page.read_bytes()  # anew each time: `fsbench report` may have rewritten it
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing: nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", port), OnePage) as server:
        on_ready(f"http://127.0.0.1:{server.server_address[1]}/")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
