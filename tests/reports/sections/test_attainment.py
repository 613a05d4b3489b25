"""Bars of users and turns within SLO."""

from __future__ import annotations

import pytest

from reports.drawing.palette import looks
from reports.sections import (
    attainment,
)

LOOK = looks(["a", "b"])


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
