"""How many more conversations or repeats would settle an inconclusive gate, if the numbers stay."""

from __future__ import annotations

from functools import lru_cache
from math import ceil, log, sqrt

from suite.judging.catalogue.row import Row
from suite.judging.gate_values import GateValue
from suite.statistics.intervals import clusters_needed
from suite.statistics.quantiles import PERCENTILES, Interval, interval_ranks
from suite.statistics.student import MIN_REPEATS, student_t

MAX_GROWTH = 1000.0  # a run that would have to be longer than this is not the way to settle it


def more_conversations(found: GateValue, row: Row, num_conversations: int) -> int | None:
    """Returns how many more would do, as the interval shrinks with √n; None where they would not
    help."""
    growth = _growth(found, found.within)
    if growth is None and found.within is not None and row.is_percentile and found.num_effective:
        # First of all it must close: with samples enough, or with conversations enough.
        growth = num_bounding(row.key) / found.num_effective
        if growth <= 1:
            growth = clusters_needed(float(PERCENTILES[row.key])) / num_conversations
    if growth is None or not 1 < growth <= MAX_GROWTH:
        return None
    return ceil(num_conversations * (growth - 1))


def missing_repeats(found: GateValue) -> int | None:
    """Returns how many are missing to tell an engine from the level of its run."""
    return max(0, MIN_REPEATS - found.num_runs) or None


def more_repeats(found: GateValue) -> int | None:
    """Returns how many more would narrow the interval between repeats enough; None where they would
    not help."""
    growth = _growth(found, found.between)
    if growth is None or growth <= 1:
        return None
    # More of them narrow t as well as the standard error: from three repeats on by a factor of two.
    enough = _half_width(found.num_runs, found.num_spreads) / sqrt(growth)
    for num in range(found.num_runs + 1, ceil(found.num_runs * MAX_GROWTH)):
        if _half_width(num, found.num_spreads) <= enough:
            return num - found.num_runs
    return None


def _half_width(num_runs: int, num_spreads: int) -> float:
    """The half-width of Student's interval, in standard deviations of a repeat."""
    return student_t((num_runs - 1) * num_spreads) / sqrt(num_runs)


def _growth(found: GateValue, interval: Interval | None) -> float | None:
    """(half-width towards the bound / distance to it)², on the log scale where there is one."""
    if interval is None or found.value is None or found.bound is None:
        return None
    if found.value == found.bound:
        return None
    end = interval.high if found.bound > found.value else interval.low
    if end is None:
        return None
    if min(end, found.value, found.bound) > 0:
        return (log(end / found.value) / log(found.bound / found.value)) ** 2
    return ((end - found.value) / (found.bound - found.value)) ** 2


@lru_cache(maxsize=16)
def num_bounding(percentile: str) -> int:
    """The fewest independent samples whose order statistics bound it on both sides: 368 for P99."""
    q, num = PERCENTILES[percentile], 1
    while None in interval_ranks(num, q):
        num *= 2
    low, high = num // 2, num
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if None in interval_ranks(middle, q) else (low, middle)
    return high
