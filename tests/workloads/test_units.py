from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.units import duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("250ms", 0.25),
        ("2s", 2.0),
        ("1.5s", 1.5),
        ("1m", 60.0),
        ("3h", 10800.0),
        ("40us", 4e-5),
        ("2 s", 2.0),
        (0, 0.0),
        (0.0, 0.0),
        ("0s", 0.0),
    ],
)
def test_a_duration_is_read_as_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("number", [1, 0.5, -3, float("nan")])
def test_a_bare_number_is_refused_because_its_unit_is_unknown(number: float) -> None:
    with pytest.raises(ValueError, match=f"is without unit, got {number}; write it like 250ms"):
        parse_duration(number)


@pytest.mark.parametrize(
    "text", ["", "s", "-1s", "1 day", "1e3s", "1m30s", "2S", "2s ", True, None]
)
def test_what_is_no_duration_is_refused_with_examples(text: object) -> None:
    with pytest.raises(ValueError, match="must be written like 250ms, 2s, 1m or 3h, got"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=36 * 10**12))
def test_duration_text_is_read_back_exactly(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(duration_text(seconds)) == seconds
