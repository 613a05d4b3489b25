"""Repeats: Student's intervals against scipy's, and what a single repeat may not accuse."""

from __future__ import annotations

from math import exp

import numpy as np
import pytest
from scipy import stats

from suite.judging.catalogue.table import Metric
from suite.judging.gate_syntax import parse_gate
from suite.judging.gates import Outcome, evaluate
from suite.judging.ratios import UNSEEN, Ratio, ratio_of
from suite.judging.sides import EngineSide
from suite.judging.verdicts import compare_sides
from suite.statistics.student import paired_ratio_interval, unpaired_ratio_interval
from suite.statistics.summaries import summarise

VALUES, BASE = (1.2, 1.5, 1.1, 1.3), (1.0, 1.1, 0.9, 1.05)
NOISE = np.random.default_rng(3).lognormal(sigma=0.05, size=2000)


def test_of_one_run_it_is_students_paired_interval_of_the_logs():
    found = paired_ratio_interval(VALUES, BASE)
    expected = stats.ttest_rel(np.log(VALUES), np.log(BASE)).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((exp(expected.low), exp(expected.high)))


@pytest.mark.parametrize("num", [2, 3, 4])
def test_of_two_runs_it_is_students_interval_for_two_samples(num):
    found = unpaired_ratio_interval(VALUES[:num], BASE)
    expected = stats.ttest_ind(np.log(VALUES[:num]), np.log(BASE)).confidence_interval()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((exp(expected.low), exp(expected.high)))


def test_a_single_repeat_is_held_against_the_spread_of_the_baselines():
    """The prediction interval of one more: s · sqrt(1 + 1/n) around, n - 1 degrees of freedom."""
    found = unpaired_ratio_interval([1.2], BASE)
    logs = np.log(BASE)
    half = stats.t.ppf(0.975, 3) * logs.std(ddof=1) * np.sqrt(1 + 1 / 4)
    middle = np.log(1.2) - logs.mean()
    assert found is not None
    assert (found.low, found.high) == pytest.approx((exp(middle - half), exp(middle + half)))


@pytest.mark.parametrize(
    ("values", "base"), [([1.0], [1.0, 1.1]), ([], BASE), ([0.0, 0.0, 0.0], BASE), ([1.0], [1.0])]
)
def test_too_few_repeats_or_nothing_but_zeros_give_none(values, base):
    assert unpaired_ratio_interval(values, base) is None
    assert paired_ratio_interval(values[:2], base[:2]) is None


def test_both_cover_what_they_say():
    rng = np.random.default_rng(11)
    logs = rng.normal(scale=0.05, size=(2000, 2, 3))
    for interval in (paired_ratio_interval, unpaired_ratio_interval):
        found = [interval(*np.exp(each).tolist()) for each in logs]
        covered = np.mean([each.low <= 1 <= each.high for each in found])
        assert 0.935 <= covered <= 0.965


def side(levels, *, label="a", is_exact=False, num_failed=0):
    """An engine whose repeats have these levels of TTFT."""
    parts = [summarise(NOISE * each).as_json() for each in levels]
    values = {"ttft.p50": [each["p50"] for each in parts]}
    found = {
        "ttft_s": summarise(np.concatenate([NOISE * each for each in levels])).as_json(),
        "counts": {"recorded": 9, "failed": num_failed, "lost": 0},
        "is_exact": is_exact,
        "is_driver_valid": True,
        "pace": None,
        "num_conversations": 100,
        "repeats": [{}] * len(levels),
        "between_runs": None
        if len(levels) < 2
        else {name: {"values": each, "interval": None} for name, each in values.items()},
        "unavailable": {},
    }
    return EngineSide(label, found, None)


def held(text, mine, base):
    (found,) = evaluate([parse_gate(text)], {"a": mine}, {"a": base})
    return found


BOUND = "ttft.p50 <= 1.05 * baseline"


@pytest.mark.parametrize(
    ("levels", "base", "outcome", "more_repeats"),
    [
        ([1.3], [1.0], Outcome.INCONCLUSIVE, 2),
        ([1.3, 1.3], [1.0], Outcome.INCONCLUSIVE, 2),
        ([2.5], [1.0], Outcome.FAIL, None),  # no machine's day explains it
        ([0.9], [1.0], Outcome.PASS, None),
        ([1.3], [1.0, 1.01, 0.99], Outcome.FAIL, None),
        ([1.3, 1.31, 1.29], [1.0, 1.01, 0.99], Outcome.FAIL, None),
        ([1.3, 1.6, 1.0], [1.0, 1.2, 0.8], Outcome.INCONCLUSIVE, 7),
    ],
)
def test_a_fail_against_a_baseline_needs_repeats_that_bear_it(levels, base, outcome, more_repeats):
    found = held(BOUND, side(levels), side(base))
    assert (found.outcome, found.more_repeats) == (outcome, more_repeats)
    if more_repeats == 2:
        assert found.reason == UNSEEN
        assert found.more_conversations is None


def test_exact_runs_and_absolute_bounds_need_no_repeats():
    exact = held(BOUND, side([1.06], is_exact=True), side([1.0], is_exact=True))
    absolute = held("ttft.p50 <= 900ms", side([1.0]), None)
    assert (exact.outcome, absolute.outcome) == (Outcome.FAIL, Outcome.FAIL)


def test_failed_turns_are_no_matter_of_the_runs_level():
    found = held("counts.failed <= baseline", side([1.0], num_failed=7), side([1.0], num_failed=5))
    assert found.outcome is Outcome.FAIL


def test_sums_over_unequal_numbers_of_repeats_are_not_held_against_each_other():
    mine, base = side([1.0] * 3, num_failed=6), side([1.0], num_failed=2)
    found = held("counts.failed <= baseline", mine, base)
    assert found.outcome is Outcome.INCONCLUSIVE
    assert found.reason == "a sum over 3 and 1 repeats: play as many as the baseline"


@pytest.mark.parametrize(
    ("level", "verdict"), [(1.3, "unclear"), (0.8, "unclear"), (2.5, "worse"), (0.4, "better")]
)
def test_single_repeats_are_called_apart_only_by_what_no_run_explains(level, verdict, monkeypatch):
    only = [Metric("ttft.p50")]
    monkeypatch.setattr("suite.judging.verdicts.metrics_of", lambda *_: only)
    [found] = compare_sides(side([level]), side([1.0]))
    assert (found["verdict"], found["reason"]) == (verdict, UNSEEN if verdict == "unclear" else "")


def test_the_cautious_interval_is_the_whole_one_where_repeats_were_played():
    seen = ratio_of(side([1.3, 1.31, 1.29]), side([1.0, 1.01, 0.99]), Metric("ttft.p50"))
    assert seen.cautious_interval == seen.whole_interval
    assert Ratio(value=None, is_level_unseen=True).cautious_interval is None
