"""Figures hold the numbers they were given."""

from __future__ import annotations

import numpy as np
import pytest

from reports import figures, share_bars
from reports.axes import nines, time_axis
from reports.palette import COLOURS, looks
from reports.thinning import ecdf
from suite.statistics import summarise

LOOK = looks(["a", "b"])


def test_an_engine_looks_the_same_everywhere_and_unlike_the_others():
    many = looks([f"e{index}" for index in range(14)])
    assert len({(each.colour, each.dash) for each in many.values()}) == 14
    assert LOOK["a"].colour == COLOURS[0]


def test_tails_show_percentiles_and_whiskers_and_skip_what_is_not_available():
    summary = summarise(np.arange(1, 401) / 400).as_json()
    (trace,) = figures.tail_percentiles({"a": summary}, LOOK, "t").data
    assert list(trace.y) == [summary[name] for name in ("p50", "p90", "p95", "p99", "max")]
    low, high = summary["interval"]["p50"]
    assert trace.error_y.array[0] == pytest.approx(high - summary["p50"])
    assert trace.error_y.arrayminus[0] == pytest.approx(summary["p50"] - low)
    assert trace.error_y.array[-1] == 0.0  # a maximum has no interval


def test_an_open_whisker_leaves_the_figure():
    figure = figures.tail_percentiles(
        {"a": summarise(np.arange(1, 201) / 200).as_json()}, LOOK, "t"
    )
    (trace,) = figure.data
    assert np.log10(trace.y[3] + trace.error_y.array[3]) > figure.layout.yaxis.range[1]


def test_an_ecdf_draws_the_middle_of_each_step_on_the_axis_of_nines():
    figure = figures.latency_ecdf({"a": ecdf(np.arange(1.0, 11.0))}, LOOK, "t", slo_s=20.0)
    (trace,) = figure.data
    assert trace.y[-1] == pytest.approx(nines(np.array([0.95]))[0])
    assert np.isfinite(trace.y).all()
    assert figure.layout.xaxis.range[1] > np.log10(20.0)  # the SLO is in sight


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.02), (0.01, 1.0), (1e-5, 100.0), (0.0, 0.0)])
def test_a_time_axis_is_labelled_with_few_ticks_in_sight(low, high):
    axis = time_axis(low, high, "t")
    seen = [tick for tick in axis["tickvals"] if axis["range"][0] <= np.log10(tick)]
    seen = [tick for tick in seen if np.log10(tick) <= axis["range"][1]]
    assert 1 <= len(seen) <= 9


def test_a_timeline_bar_begins_at_the_plan_and_waits_until_the_first_token():
    turn = {
        "lane": 0,
        "scheduled_at": 1.0,
        "first_token_at": 3.0,
        "last_token_at": 7.0,
        "longest_gap_s": 0.5,
        "label": "c0",
    }
    waiting, streaming, *_ = figures.turn_timeline([turn], [], 1, (0.01, 1.0)).data
    assert (waiting.base[0], waiting.x[0]) == (1.0, 2.0)
    assert (streaming.base[0], streaming.x[0]) == (3.0, 4.0)


def test_the_parts_of_a_bar_are_the_shares_in_the_order_of_a_requests_life():
    ratios = {
        "queued_ratio": 0.25,
        "preempted_ratio": 0.5,
        "swap_wait_ratio": 0.0,
        "held_ratio": 0.0,
        "stalled_ratio": 0.05,
        "computing_ratio": 0.2,
    }
    figure = share_bars.latency_shares({"a": ratios, "b": {**ratios, "queued_ratio": 0.0}})
    assert [f"{trace.name.replace(' ', '_')}_ratio" for trace in figure.data] == list(ratios)
    assert [trace.x[0] for trace in figure.data] == list(ratios.values())
    assert [list(trace.y) for trace in figure.data] == [["a", "b"]] * 6
    assert figure.data[4].text == ("", "")  # too narrow for its number, which hovering shows
    assert figure.data[4].customdata == ("5 %", "5 %")


def test_longer_gaps_are_brighter():
    def bar(gap):
        return {
            "lane": 0,
            "scheduled_at": 0.0,
            "first_token_at": 1.0,
            "last_token_at": 2.0,
            "longest_gap_s": gap,
            "label": "",
        }

    figure = figures.turn_timeline([bar(0.01), bar(0.1), bar(1.0)], [], 1, (0.01, 1.0))
    shades = [
        sum(int(part) for part in shade[4:-1].split(",")) for shade in figure.data[1].marker.color
    ]
    assert shades == sorted(shades)
    assert len(set(shades)) == 3
