"""Figures hold the numbers they were given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.drawing.axes import folded, log_ticks, nines, time_axis
from reports.drawing.palette import COLOURS, STATE_COLOURS, looks, text_on
from reports.drawing.thinning import Ecdf, ecdf
from reports.figures import attainment, latency, service, shares, switching, timeline
from reports.views.attainment import HeatMap
from reports.views.service import Lorenz
from reports.views.switching import KvView, SlowRequest
from reports.views.timeline import Bar
from suite.statistics.summaries import summarise

LOOK = looks(["a", "b"])


def one_each(samples: np.ndarray) -> Ecdf:
    """Every sample of a conversation of its own."""
    return ecdf(samples, np.arange(len(samples)))


def test_an_engine_looks_the_same_everywhere_and_unlike_the_others():
    many = looks([f"e{index}" for index in range(14)])
    assert len({(each.colour, each.dash) for each in many.values()}) == 14
    assert LOOK["a"].colour == COLOURS[0]


def test_tails_show_percentiles_and_whiskers_and_skip_what_is_not_available():
    summary = summarise(np.arange(1, 401) / 400).as_json()
    (trace,) = latency.tail_percentiles({"a": summary}, LOOK, "t").data
    assert list(trace.y) == [summary[name] for name in ("p50", "p90", "p95", "p99", "max")]
    low, high = summary["interval"]["p50"]
    assert trace.error_y.array[0] == pytest.approx(high - summary["p50"])
    assert trace.error_y.arrayminus[0] == pytest.approx(summary["p50"] - low)
    assert trace.error_y.array[-1] == 0.0  # a maximum has no interval


def test_an_open_whisker_leaves_the_figure():
    figure = latency.tail_percentiles(
        {"a": summarise(np.arange(1, 201) / 200).as_json()}, LOOK, "t"
    )
    (trace,) = figure.data
    assert np.log10(trace.y[3] + trace.error_y.array[3]) > figure.layout.yaxis.range[1]


def test_an_ecdf_draws_the_middle_of_each_step_on_the_axis_of_nines():
    figure = latency.latency_ecdf({"a": one_each(np.arange(1.0, 11.0))}, LOOK, "t", slo_s=20.0)
    band, steps = figure.data
    assert steps.y[-1] == pytest.approx(nines(np.array([0.95]))[0])
    assert np.isfinite(steps.y).all()
    assert figure.layout.xaxis.range[1] > np.log10(20.0)  # the SLO is in sight
    assert band.fill == "toself"


def test_a_band_holds_the_line_and_runs_to_the_edge_where_it_is_open():
    samples = np.random.default_rng(1).lognormal(size=300)
    figure = latency.latency_ecdf({"a": one_each(samples)}, LOOK, "t", slo_s=None)
    band, _ = figure.data
    low, high = np.split(band.x, 2)
    assert (low <= high[::-1]).all()
    assert high[0] == pytest.approx(10 ** figure.layout.xaxis.range[1])  # above P99 of 300: open


def test_a_few_gaps_of_no_length_do_not_take_half_of_the_axis():
    samples = np.concatenate([[1e-7], np.linspace(0.01, 0.1, 999)])
    figure = latency.latency_ecdf({"a": one_each(samples)}, LOOK, "t", slo_s=None)
    assert 10 ** figure.layout.xaxis.range[0] > 0.005
    assert figure.data[1].x[0] == 1e-7  # still in the line


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.02), (0.01, 1.0), (1e-5, 100.0), (0.0, 0.0)])
def test_a_time_axis_is_labelled_with_few_ticks_in_sight(low, high):
    axis = time_axis(low, high, "t")
    seen = [tick for tick in axis["tickvals"] if axis["range"][0] <= np.log10(tick)]
    seen = [tick for tick in seen if np.log10(tick) <= axis["range"][1]]
    assert 1 <= len(seen) <= 9


def bar(gap_s: float, lane: int = 0) -> Bar:
    return Bar(
        lane=lane,
        scheduled_at=1.0,
        first_token_at=3.0,
        last_token_at=7.0,
        longest_gap_s=gap_s,
        label="c0",
    )


def test_a_timeline_bar_begins_at_the_plan_and_waits_until_the_first_token():
    waiting, streaming, *_ = timeline.turn_timeline([bar(0.5)], [], 1, (0.01, 1.0)).data
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
    figure = shares.latency_shares({"a": ratios, "b": {**ratios, "queued_ratio": 0.0}})
    assert [f"{trace.name.replace(' ', '_')}_ratio" for trace in figure.data] == list(ratios)
    assert [trace.x[0] for trace in figure.data] == list(ratios.values())
    assert [list(trace.y) for trace in figure.data] == [["a", "b"]] * 6
    assert figure.data[4].text == ("", "")  # too narrow for its number, which hovering shows
    assert figure.data[4].customdata == ("5 %", "5 %")


def test_longer_gaps_are_brighter():
    bars = [bar(0.01), bar(0.1), bar(1.0)]
    figure = timeline.turn_timeline(bars, [], 1, (0.01, 1.0))
    shades = [
        sum(int(part) for part in shade[4:-1].split(",")) for shade in figure.data[1].marker.color
    ]
    assert shades == sorted(shades)
    assert len(set(shades)) == 3


def test_a_slow_request_shows_its_states_in_their_places():
    slow = SlowRequest(
        conversation_id="c1",
        latency_s=3.0,
        is_p99=True,
        num_requests=200,
        spans=(("queued", 0.0, 1.0), ("computing", 1.0, 2.5), ("queued", 2.5, 3.0)),
    )
    traces = {trace.name: trace for trace in shares.slow_requests({"a": slow}).data}
    assert list(traces["queued"].base) == [0.0, 2.5]
    assert list(traces["queued"].x) == [1.0, 0.5]
    assert list(traces["computing"].x) == [1.5]
    assert not traces["stalled"].x


def test_a_heat_map_is_even_about_the_slo_and_marks_what_has_no_answer():
    view = HeatMap(
        repeat=1,
        user_id=("u1", "u2"),
        user_class=("x", "x"),
        used=np.array([[1.0, 4.0], [0.5, np.nan]]),
        is_missed=np.array([[False, False], [False, True]]),
        num_users=2,
        num_turns=2,
    )
    heat, missed = attainment.slo_heat_map(view).data
    assert heat.z[0].tolist() == [0.0, 2.0]
    assert heat.z[1][0] == -1.0
    assert (heat.zmin, heat.zmax) == (-3, 3)
    assert (list(missed.x), list(missed.y)) == ([2], [1])
    assert heat.text[0][1] == "u1 (x), turn 2: 4× its SLO, missed"


def test_whiskers_of_shares_stay_between_none_and_all():
    numbers = {"a": {"all": {"r": 0.4, "interval": {"r": [0.3, None]}}, "x": {"r": None}}}
    bars, rim, whisker, labels = attainment.attainment_by_class(numbers, "r", LOOK, "t").data
    for each in (rim, whisker):
        assert (list(each.x), list(each.y)) == ([0.0], [0.4])  # none on a bar without an interval
        assert list(each.error_y.array) == [pytest.approx(0.6)]
        assert list(each.error_y.arrayminus) == [pytest.approx(0.1)]
    assert list(bars.text) == ["40 %", ""] and list(labels.text) == []


def test_a_bar_too_low_for_its_number_has_it_above_its_whisker():
    numbers = {
        "a": {"all": {"r": 0.05, "interval": {"r": [0.01, 0.2]}}},
        "b": {"all": {"r": 1.0, "interval": {"r": [0.05, None]}}},  # the whisker reaches the foot
    }
    traces = attainment.attainment_by_class(numbers, "r", LOOK, "t").data
    labels = [each for each in traces if each.type == "scatter" and each.mode == "text"]
    assert [(list(each.y), list(each.text)) for each in labels] == [
        ([0.2], ["5 %"]),
        ([1.0], ["100 %"]),
    ]


def test_long_names_are_folded_and_none_is_lost():
    name = "paying-customers_of_the-premium-plan"
    assert folded(name, 14).replace("<br>", "") == name
    assert max(map(len, folded(name, 14).split("<br>"))) <= 14
    assert folded("all", 14) == "all"


def test_the_bandwidth_of_swapping_has_its_own_panel_on_the_same_time():
    ratio = np.array([0.5, 1.0])
    view = KvView(
        repeat=1,
        num_steps=2,
        stretch_s=1.0,
        at=np.array([0.5, 1.5]),
        device_ratio=ratio,
        host_ratio=ratio,
        preemptions=np.array([0.0, 2.0]),
        swap_out_bytes_per_s=np.array([2e6, 0.0]),
        swap_in_bytes_per_s=np.array([0.0, 1e6]),
    )
    figure = switching.kv_over_time(view, LOOK["a"])
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces["swap-out"].y) == [2.0, 0.0]  # upwards
    assert list(traces["swap-in"].y) == [0.0, -1.0]  # downwards
    assert not any("-" in text for text in figure.layout.yaxis3.ticktext)
    assert traces["swap-out"].yaxis == "y3"
    assert figure.layout.yaxis3.domain[1] < figure.layout.yaxis.domain[0]
    without = replace(view, swap_out_bytes_per_s=None, swap_in_bytes_per_s=None)
    assert "swap-out" not in {each.name for each in switching.kv_over_time(without, LOOK["a"]).data}


def test_lorenz_curves_name_their_gini():
    curve = Lorenz(
        user_ratio=np.array([0.0, 0.5, 1.0]), share_ratio=np.array([0.0, 0.25, 1.0]), gini=0.25
    )
    even, line = service.lorenz_curves({"a": curve}, LOOK).data
    assert list(even.y) == [0, 1]
    assert line.name == "a, Gini 0.25"
    assert list(line.y) == [0.0, 0.25, 1.0]


@given(st.floats(1e-6, 1e3), st.floats(1.02, 1e6), st.integers(4, 9))
def test_every_axis_has_two_ticks_or_more_and_not_too_many(low: float, times: float, limit: int):
    ticks = log_ticks(low, low * times, limit)
    assert len(ticks) >= 2
    assert len(ticks) <= max(limit, 6, np.log10(times) + 2)
    assert all(0.999 * low <= tick <= 1.001 * low * times for tick in ticks)


def test_an_open_end_of_a_band_takes_the_next_percentile_that_has_one():
    """Gaps are alike within a conversation: some percentiles rest on too few of them."""
    each = one_each(np.arange(1.0, 201.0))
    low, high = each.band.low.copy(), each.band.high.copy()
    low[20], high[10] = np.nan, np.nan
    band = replace(each.band, low=low, high=high)
    figure = latency.latency_ecdf({"a": replace(each, band=band)}, LOOK, "t", slo_s=None)
    outline = np.array(figure.data[0].x)
    lows, highs = np.split(outline, 2)
    assert lows[20] == np.nanmax(low[:20])
    assert highs[::-1][10] == np.nanmin(high[11:])
    assert highs[0] > each.value[-1]  # open to the end: the figure's edge
    assert not np.isnan(outline).any()


def _luminance(colour: str) -> float:
    shares = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


@pytest.mark.parametrize("colour", sorted({*COLOURS, *STATE_COLOURS.values()}))
def test_the_number_in_a_bar_can_be_read(colour: str):
    light = {"#000": 0.0, "#fff": 1.0}[text_on(colour)]
    darker, lighter = sorted((light, _luminance(colour)))
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG AA
