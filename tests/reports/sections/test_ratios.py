"""What is held against what is drawn as it is: gates beside their bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.sections.ratios import gate_bounds

GATE = {
    "gate": "slo.users_within_slo_ratio >= 0.5",
    "engine": "mine",
    "metric": "slo.users_within_slo_ratio",
    "operator": ">=",
    "observed": 0.8,
    "bound": 0.5,
    "interval": [0.4, 1.0],
    "outcome": "inconclusive",
}


def drawn(*gates: dict[str, Any]) -> Any:
    (figure,) = gate_bounds(gates).figures
    return figure


def shaded(figure: Any, place: int = 0) -> tuple[float, float]:
    """The side of a row on which its bound is kept."""
    bands = [each for each in figure.layout.shapes if each.type == "rect"]
    return bands[place].x0, bands[place].x1


def test_a_bound_from_below_is_drawn_as_the_number_in_multiples_of_it() -> None:
    figure = drawn(GATE, {**GATE, "bound": 0.0})
    (trace,) = figure.figure.data
    assert trace.x[0] == pytest.approx(1.6)
    assert trace.x[0] + trace.error_x.array[0] == pytest.approx(2.0)
    assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(0.8)
    assert figure.note.startswith("1 with a bound")
    start, end = shaded(figure.figure)
    assert start == 1 and end > 1000  # to the right, to the edge


@given(st.sampled_from(["<", "<=", ">", ">="]), st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_mark_lies_in_its_shade_exactly_if_the_gate_is_kept(
    operator: str, observed: float, bound: float
) -> None:
    is_kept = {"<": observed < bound, "<=": observed <= bound, ">": observed > bound}.get(
        operator, observed >= bound
    )
    gate = {**GATE, "operator": operator, "observed": observed, "bound": bound, "interval": None}
    figure = drawn(gate).figure
    low, high = sorted(shaded(figure))
    ratio = figure.data[0].x[0]
    if not np.isclose(ratio, 1.0):
        assert (low < ratio < high) == is_kept


def test_an_open_end_and_one_at_zero_leave_the_figure() -> None:
    gate = {**GATE, "metric": "ttft.p99", "operator": "<=", "interval": [0.0, None]}
    figure = drawn(gate).figure
    (trace,) = figure.data
    first, last = figure.layout.xaxis.range
    assert np.log10(trace.x[0] - trace.error_x.arrayminus[0]) < first
    assert np.log10(trace.x[0] + trace.error_x.array[0]) > last
