"""The ratio of one metric between two engines, and how sure it is.

On the same plan the ratio's interval is paired: of percentiles from resamples of conversations
that both engines share (bootstrap.py), of means and shares by bootstrap-t (bootstrap_t.py), of
users' numbers from the two intervals and how far the numbers vary together (user_influences.py).
Otherwise it comes from the two intervals alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.judging.catalogue.table import Metric
from suite.judging.lateness import allowing_factors, ratio_range
from suite.judging.look_up import Number
from suite.judging.paired_samples import PairedSamples
from suite.judging.sides import Side
from suite.measuring.user_influences import correlation
from suite.statistics.arrays import Floats
from suite.statistics.bootstrap import interval_of
from suite.statistics.bootstrap_t import mean_ratio_interval
from suite.statistics.intervals import holding, hull
from suite.statistics.quantiles import PERCENTILES, Interval, interval_ranks
from suite.statistics.ratio_intervals import combined_ratio
from suite.statistics.student import MIN_REPEATS, paired_ratio_interval, unpaired_ratio_interval

# By so much two runs of one engine on one machine may differ where no repeats show how much: of 60
# pairs side by side 1 differed by more in P50 of TTFT, none in the mean of TBT, 3 in its P99, whose
# interval allows for that (benchmarks/results/gate_errors_real.json).
UNSEEN_LEVEL = 2.0
REPEATS_WOULD_TELL = f"{MIN_REPEATS} repeats or more would tell how far it varies"
UNSEEN = f"two runs of the same engine may differ as much; {REPEATS_WOULD_TELL}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """side / base of one metric; None with the reason."""

    value: float | None
    interval: Interval | None = None  # within the runs
    ratios_of_runs: tuple[float, ...] = ()  # one a repeat, of one run
    between_runs: Interval | None = None
    late: Interval | None = None  # factors by which turns that were sent late could change it
    is_level_unseen: bool = False  # timed, not exact, and too few repeats to tell run from engine
    reason: str = ""

    @property
    def whole_interval(self) -> Interval | None:
        return holding(hull(self.interval, self.between_runs), self.value)

    @property
    def cautious_interval(self) -> Interval | None:
        """The whole interval; where repeats are missing, wider by what they might have shown."""
        whole = self.whole_interval
        if not self.is_level_unseen or self.value is None:
            return whole
        low, high = (self.value, self.value) if whole is None else (whole.low, whole.high)
        return Interval(
            low=None if low is None else low / UNSEEN_LEVEL,
            high=None if high is None else high * UNSEEN_LEVEL,
        )

    @property
    def judged_interval(self) -> Interval | None:
        """The one that tells better from worse: the cautious one, and what lateness could do. None
        where nothing is known of how the number varies."""
        if self.whole_interval is None or self.value is None:
            return None
        found = self.cautious_interval
        if self.late is None:
            return found
        return allowing_factors(found, self.value, self.late)


def ratio_of(side: Side, base: Side, metric: Metric) -> Ratio:
    """Returns side / base with its intervals, or why there is none."""
    mine, other = side.number(metric), base.number(metric)
    if why := _why_none(side, base, metric, mine, other):
        return Ratio(value=None, reason=why)
    assert mine.value is not None and other.value is not None
    values, base_values = _values_of_repeats(side, metric), _values_of_repeats(base, metric)
    is_one_run = side.run is not None and side.run == base.run
    over_runs = paired_ratio_interval if is_one_run else unpaired_ratio_interval
    between = over_runs(values, base_values)
    is_exact = side.is_exact and base.is_exact
    return Ratio(
        value=mine.value / other.value,
        interval=_within_runs(side, base, metric, mine, other),
        ratios_of_runs=_ratios(values, base_values) if is_one_run else (),
        between_runs=between,
        late=ratio_late(side, base, metric),
        is_level_unseen=between is None and not is_exact and not metric.row.is_count_of_turns,
    )


def ratio_late(side: Side, base: Side, metric: Metric) -> Interval | None:
    """Returns by which factors lateness could change side / base; None where nobody was late."""
    mine, other = side.number(metric).value, base.number(metric).value
    if mine is None or other is None:
        return None
    return ratio_range(mine, side.lateness(metric), other, base.lateness(metric))


def _why_none(side: Side, base: Side, metric: Metric, mine: Number, other: Number) -> str:
    """Empty where there is a ratio."""
    if mine.value is None:
        return mine.reason
    if other.value is None:
        return f"the baseline has none: {other.reason}"
    if other.value == 0:
        return "the baseline is 0"
    if metric.row.pooled_by == "sum" and side.num_repeats != base.num_repeats:
        repeats = f"{side.num_repeats} and {base.num_repeats} repeats"
        return f"a sum over {repeats}: play as many as the baseline"
    return ""


def _ratios(values: list[float], base: list[float]) -> tuple[float, ...]:
    """Repeat by repeat, where there are several and no zeros."""
    if len(values) != len(base) or len(values) < 2 or not all(base):
        return ()
    return tuple(a / b for a, b in zip(values, base, strict=True))


def _values_of_repeats(side: Side, metric: Metric) -> list[float]:
    runs = side.between_runs(metric)
    if runs is not None:
        return list(runs["values"])
    value = side.number(metric).value
    return [] if value is None or side.num_repeats > 1 else [value]


def _within_runs(
    side: Side, base: Side, metric: Metric, mine: Number, other: Number
) -> Interval | None:
    """Paired where both played the same plan and their records are at hand."""
    samples, base_samples = side.paired_samples, base.paired_samples
    if samples is None or base_samples is None or side.plan != base.plan:
        return _combined(mine, other)
    match metric.row.pairs_by:
        case "conversation":
            found = _paired_by_conversation(samples, base_samples, metric)
            return None if found is None else paired_interval(found, metric, mine, other)
        case "user":
            influences = samples.influences(metric), base_samples.influences(metric)
            return _combined(mine, other, _correlation(*influences))
        case _:
            return _combined(mine, other)


def _paired_by_conversation(
    samples: PairedSamples, base: PairedSamples, metric: Metric
) -> Interval | None:
    if metric.row.is_percentile:
        return _resampled_ratio(samples.percentile_draws(metric), base.percentile_draws(metric))
    return mean_ratio_interval(samples.totals(metric), base.totals(metric))


def _correlation(influences: Floats | None, others: Floats | None) -> float:
    return 0.0 if influences is None or others is None else correlation(influences, others)


def _resampled_ratio(drawn: Floats | None, base_drawn: Floats | None) -> Interval | None:
    if drawn is None or base_drawn is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return interval_of(drawn / base_drawn)


def _combined(mine: Number, other: Number, correlation: float = 0.0) -> Interval | None:
    """From the two intervals; `correlation`: how far the two numbers vary together."""
    if mine.value is None or mine.interval is None or other.interval is None or not other.value:
        return None
    return combined_ratio(mine.value, mine.interval, other.value, other.interval, correlation)


def paired_interval(found: Interval, metric: Metric, mine: Number, other: Number) -> Interval:
    """Returns the interval with the ratio itself in it, which resamples of a long tail may miss. An
    end is open where too few samples bound the percentile it rests on; that clusters are few does
    not matter, for what they have in common is paired away."""
    assert mine.value is not None and other.value is not None
    ratio = mine.value / other.value
    low = None if found.low is None else min(found.low, ratio)
    high = None if found.high is None else max(found.high, ratio)
    if not metric.row.is_percentile or mine.num_effective is None or other.num_effective is None:
        return Interval(low=low, high=high)
    q = PERCENTILES[metric.row.key]
    mine_low, mine_high = interval_ranks(mine.num_effective, q)
    other_low, other_high = interval_ranks(other.num_effective, q)
    return Interval(
        low=None if mine_low is None or other_high is None else low,
        high=None if mine_high is None or other_low is None else high,
    )
