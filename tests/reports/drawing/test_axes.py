"""Axes have few and readable ticks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.drawing.axes import folded, log_ticks, time_axis


@pytest.mark.parametrize(("low", "high"), [(0.01, 0.02), (0.01, 1.0), (1e-5, 100.0), (0.0, 0.0)])
def test_a_time_axis_is_labelled_with_few_ticks_in_sight(low, high):
    axis = time_axis(low, high, "t")
    seen = [tick for tick in axis["tickvals"] if axis["range"][0] <= np.log10(tick)]
    seen = [tick for tick in seen if np.log10(tick) <= axis["range"][1]]
    assert 1 <= len(seen) <= 9


def test_long_names_are_folded_and_none_is_lost():
    name = "paying-customers_of_the-premium-plan"
    assert folded(name, 14).replace("<br>", "") == name
    assert max(map(len, folded(name, 14).split("<br>"))) <= 14
    assert folded("all", 14) == "all"


@given(st.floats(1e-6, 1e3), st.floats(1.02, 1e6), st.integers(4, 9))
def test_every_axis_has_two_ticks_or_more_and_not_too_many(low: float, times: float, limit: int):
    ticks = log_ticks(low, low * times, limit)
    assert len(ticks) >= 2
    assert len(ticks) <= max(limit, 6, np.log10(times) + 2)
    assert all(0.999 * low <= tick <= 1.001 * low * times for tick in ticks)
