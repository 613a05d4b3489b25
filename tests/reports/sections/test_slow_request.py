"""A slow request's states in their places."""

from __future__ import annotations

from reports.sections import (
    slow_request,
)
from reports.sections.slow_request import SlowRequest


def test_a_slow_request_shows_its_states_in_their_places():
    slow = SlowRequest(
        conversation_id="c1",
        latency_s=3.0,
        is_p99=True,
        num_requests=200,
        spans=(("queued", 0.0, 1.0), ("computing", 1.0, 2.5), ("queued", 2.5, 3.0)),
    )
    traces = {trace.name: trace for trace in slow_request.slow_requests_figure({"a": slow}).data}
    assert list(traces["queued"].base) == [0.0, 2.5]
    assert list(traces["queued"].x) == [1.0, 0.5]
    assert list(traces["computing"].x) == [1.5]
    assert not traces["stalled"].x
