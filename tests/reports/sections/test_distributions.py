"""Distributions on an axis of nines, with their bands."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from reports.drawing.axes import nines
from reports.drawing.palette import looks
from reports.drawing.thinning import Ecdf, ecdf
from reports.sections import (
    distributions,
)

LOOK = looks(["a", "b"])


def one_each(samples: np.ndarray) -> Ecdf:
    """Every sample of a conversation of its own."""
    return ecdf(samples, np.arange(len(samples)))


def test_an_ecdf_draws_the_middle_of_each_step_on_the_axis_of_nines():
    figure = distributions.latency_ecdf(
        {"a": one_each(np.arange(1.0, 11.0))}, LOOK, "t", slo_s=20.0
    )
    band, steps = figure.data
    assert steps.y[-1] == pytest.approx(nines(np.array([0.95]))[0])
    assert np.isfinite(steps.y).all()
    assert figure.layout.xaxis.range[1] > np.log10(20.0)  # the SLO is in sight
    assert band.fill == "toself"


def test_a_band_holds_the_line_and_runs_to_the_edge_where_it_is_open():
    samples = np.random.default_rng(1).lognormal(size=300)
    figure = distributions.latency_ecdf({"a": one_each(samples)}, LOOK, "t", slo_s=None)
    band, _ = figure.data
    low, high = np.split(band.x, 2)
    assert (low <= high[::-1]).all()
    assert high[0] == pytest.approx(10 ** figure.layout.xaxis.range[1])  # above P99 of 300: open


def test_a_few_gaps_of_no_length_do_not_take_half_of_the_axis():
    samples = np.concatenate([[1e-7], np.linspace(0.01, 0.1, 999)])
    figure = distributions.latency_ecdf({"a": one_each(samples)}, LOOK, "t", slo_s=None)
    assert 10 ** figure.layout.xaxis.range[0] > 0.005
    assert figure.data[1].x[0] == 1e-7  # still in the line


def test_an_open_end_of_a_band_takes_the_next_percentile_that_has_one():
    """Gaps are alike within a conversation: some percentiles rest on too few of them."""
    each = one_each(np.arange(1.0, 201.0))
    low, high = each.band.low.copy(), each.band.high.copy()
    low[20], high[10] = np.nan, np.nan
    band = replace(each.band, low=low, high=high)
    figure = distributions.latency_ecdf({"a": replace(each, band=band)}, LOOK, "t", slo_s=None)
    outline = np.array(figure.data[0].x)
    lows, highs = np.split(outline, 2)
    assert lows[20] == np.nanmax(low[:20])
    assert highs[::-1][10] == np.nanmin(high[11:])
    assert highs[0] > each.value[-1]  # open to the end: the figure's edge
    assert not np.isnan(outline).any()
