"""How numbers read."""

from __future__ import annotations

import pytest

from reports.words import units


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0, "0 s"),
        (45.2e-6, "45.2 µs"),
        (0.00824, "8.24 ms"),
        (0.9996, "1 s"),
        (0.0009996, "1 ms"),
        (1.2368, "1.24 s"),
        (83.21, "83.2 s"),
        (1234.0, "20.6 min"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_reads_best(seconds, text):
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (None, "–"),
        ([0.5, 1.5], "500 ms to 1.5 s"),
        ([0.5, None], "at least 500 ms"),
        ([None, 1.5], "at most 1.5 s"),
        ([None, None], "unbounded"),
    ],
)
def test_an_open_interval_is_said_in_words(interval, text):
    assert units.duration_interval(interval) == text


@pytest.mark.parametrize(
    ("ratio", "text"),
    [
        (None, "–"),
        (0, "0 %"),
        (1, "100 %"),
        (0.825, "82.5 %"),
        (0.15, "15 %"),
        (0.9999, "> 99.9 %"),
        (0.0001, "< 0.1 %"),
    ],
)
def test_a_percentage_is_never_rounded_to_all_or_nothing(ratio, text):
    assert units.percent(ratio) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(None, "–"), (1234567, "1,234,567"), (9.7571, "9.76"), (0.98971, "0.99"), (1234.5, "1,234")],
)
def test_a_count_keeps_all_its_digits_and_a_mean_three(number, text):
    assert units.count(number) == text


def test_a_size_has_a_binary_unit():
    assert units.size(8 * 2**30) == "8 GiB"
    assert units.rate(1.5 * 2**30) == "1.5 GiB/s"
    assert units.rate(None) == units.MISSING


@pytest.mark.parametrize(
    ("ratio", "text"),
    [(1.0, "1×"), (1.0031, "1.003×"), (0.9961, "0.996×"), (1.0001, "> 1×"), (0.9999, "< 1×")],
)
def test_what_differs_is_never_called_one_times(ratio: float, text: str) -> None:
    assert units.times(ratio) == text
