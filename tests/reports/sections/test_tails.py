"""Percentiles and whiskers hold the numbers they were given."""

from __future__ import annotations

import numpy as np
import pytest

from reports.drawing.palette import looks
from reports.sections import (
    tails,
)
from suite.statistics.summaries import summarise

LOOK = looks(["a", "b"])


def test_tails_show_percentiles_and_whiskers_and_skip_what_is_not_available():
    summary = summarise(np.arange(1, 401) / 400).as_json()
    (trace,) = tails.tail_percentiles({"a": summary}, LOOK, "t").data
    assert list(trace.y) == [summary[name] for name in ("p50", "p90", "p95", "p99", "max")]
    low, high = summary["interval"]["p50"]
    assert trace.error_y.array[0] == pytest.approx(high - summary["p50"])
    assert trace.error_y.arrayminus[0] == pytest.approx(summary["p50"] - low)
    assert trace.error_y.array[-1] == 0.0  # a maximum has no interval


def test_an_open_whisker_leaves_the_figure():
    figure = tails.tail_percentiles({"a": summarise(np.arange(1, 201) / 200).as_json()}, LOOK, "t")
    (trace,) = figure.data
    assert np.log10(trace.y[3] + trace.error_y.array[3]) > figure.layout.yaxis.range[1]
