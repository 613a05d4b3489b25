"""A server that was attached to, and is gone when the plan has been played."""

from __future__ import annotations

import socket
from contextlib import closing

from engines.api import Endpoint
from suite.playing.trial import _why_unreachable
from suite.records.run_directory import Counts

NONE_FAILED = Counts(planned=9, recorded=9, failed=0, lost=0)
SOME_FAILED = Counts(planned=9, recorded=9, failed=2, lost=0)


def endpoint(port: int) -> Endpoint:
    return Endpoint(
        base_url=f"http://127.0.0.1:{port}/v1",
        model="m",
        api="completions",
        prompt_form="text",
        api_key=None,
        extra_body={},
        is_fsbench=False,
        applies_priority_trace=False,
        takes_priority=False,
    )


def test_a_server_that_listens_is_not_silent_and_one_that_ended_is_named():
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert _why_unreachable(endpoint(port), SOME_FAILED) is None
    with socket.socket() as deaf:  # bound, so that nobody else gets the port
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        assert _why_unreachable(endpoint(port), NONE_FAILED) is None
        said = _why_unreachable(endpoint(port), SOME_FAILED)
    assert said is not None
    assert said.startswith(f"nothing answers at 127.0.0.1:{port} any more (")
