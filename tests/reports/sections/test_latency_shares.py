"""A bar's parts are the shares of the latency."""

from __future__ import annotations

from reports.sections import (
    latency_shares,
)


def test_the_parts_of_a_bar_are_the_shares_in_the_order_of_a_requests_life():
    ratios = {
        "queued_ratio": 0.25,
        "preempted_ratio": 0.5,
        "swap_wait_ratio": 0.0,
        "held_ratio": 0.0,
        "stalled_ratio": 0.05,
        "computing_ratio": 0.2,
    }
    figure = latency_shares.latency_shares({"a": ratios, "b": {**ratios, "queued_ratio": 0.0}})
    assert [f"{trace.name.replace(' ', '_')}_ratio" for trace in figure.data] == list(ratios)
    assert [trace.x[0] for trace in figure.data] == list(ratios.values())
    assert [list(trace.y) for trace in figure.data] == [["a", "b"]] * 6
    assert figure.data[4].text == ("", "")  # too narrow for its number, which hovering shows
    assert figure.data[4].customdata == ("5 %", "5 %")
