"""Two engines held against each other: ratios of all their numbers, how sure they are, and what
that says.

On the same plan the ratio's interval is paired: of percentiles from resamples of conversations
that both engines share (bootstrap.py), of means by bootstrap-t (bootstrap_t.py), of users' numbers
from the two intervals and how far the numbers vary together (user_influences.py). Otherwise it
comes from the two intervals alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from suite.judging.between_runs import MIN_REPEATS, paired_ratio_interval, unpaired_ratio_interval
from suite.judging.catalogue import (
    LATENCY_METRICS,
    SCALAR_METRICS,
    Metric,
    Number,
    between_runs_of,
    look_up,
)
from suite.judging.paired_samples import Resampled
from suite.measuring.cache_isolation import doubt as cache_doubt
from suite.measuring.engine_run import EngineRun
from suite.measuring.user_influences import correlation
from suite.statistics.arrays import Floats
from suite.statistics.bootstrap import interval_of
from suite.statistics.bootstrap_t import mean_ratio_interval
from suite.statistics.intervals import as_json, combined_ratio, hull
from suite.statistics.quantiles import PERCENTILES, Interval, interval_ranks

# By so much two runs of one engine on one machine may differ where no repeats show how much: of 60
# pairs side by side 1 differed by more in P50 of TTFT, none in the mean of TBT, 3 in its P99, whose
# interval allows for that (benchmarks/results/gate_errors_real.json).
UNSEEN_LEVEL = 2.0
REPEATS_WOULD_TELL = f"{MIN_REPEATS} repeats or more would tell how far it varies"
UNSEEN = f"two runs of the same engine may differ as much; {REPEATS_WOULD_TELL}"
STATISTICS = ("mean", "p50", "p99", "p999")
CLASS_METRICS = ("ttft.p99", "tbt.p99", "slo.users_within_slo_ratio", "slo.turn_attainment_ratio")
COMPARED = (
    *(f"{name}.{each}" for name in LATENCY_METRICS if name != "driver_lag" for each in STATISTICS),
    *SCALAR_METRICS,
)


class Side(Protocol):
    """An engine's numbers, measured in a run or stored."""

    @property
    def label(self) -> str: ...

    @property
    def is_exact(self) -> bool: ...

    @property
    def is_driver_valid(self) -> bool | None: ...

    def doubt(self, metric: Metric) -> str | None:
        """Returns why its number is not to be judged by; None where it is."""

    @property
    def num_conversations(self) -> int: ...

    @property
    def num_repeats(self) -> int:
        """That were played."""

    @property
    def run(self) -> Path | None:
        """The run's directory; None where it is not at hand."""

    @property
    def plan(self) -> str:
        """The digest of the plan and what of it was measured: equal ones can be paired."""

    @property
    def resampled(self) -> Resampled | None:
        """None where the records are not at hand."""

    def number(self, metric: Metric) -> Number: ...

    def between_runs(self, metric: Metric) -> Mapping[str, Any] | None: ...


@dataclass(frozen=True)
class EngineSide:
    """Of a run directory. Without records (None) its ratios come from intervals."""

    label: str
    numbers: Mapping[str, Any] = field(repr=False)
    records: EngineRun | None = field(repr=False)

    @property
    def is_exact(self) -> bool:
        return bool(self.numbers["is_exact"])

    @property
    def is_driver_valid(self) -> bool | None:
        found: bool | None = self.numbers["is_driver_valid"]
        return found

    def doubt(self, metric: Metric) -> str | None:
        of_gaps = self.numbers.get("tbt_doubt") if metric.is_of_gaps else None
        cache = self.numbers.get("prefix_cache", {})
        return of_gaps or cache_doubt(cache, metric.group, metric.key)

    @property
    def num_conversations(self) -> int:
        return int(self.numbers["num_conversations"])

    @property
    def num_repeats(self) -> int:
        return len(self.numbers["repeats"])

    @property
    def run(self) -> Path | None:
        return None if self.records is None else self.records.run

    @cached_property
    def plan(self) -> str:
        if self.records is None:
            return ""
        return plan_key(self.records.plan.digest, self.records.measured.as_json())

    @cached_property
    def resampled(self) -> Resampled | None:
        return None if self.records is None else Resampled(self.records)

    def number(self, metric: Metric) -> Number:
        return look_up(self.numbers, metric)

    def between_runs(self, metric: Metric) -> Mapping[str, Any] | None:
        return between_runs_of(self.numbers, metric)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """side / base of one metric; None with the reason."""

    value: float | None
    interval: Interval | None = None  # within the runs
    ratios_of_runs: tuple[float, ...] = ()  # one a repeat, of one run
    between_runs: Interval | None = None
    is_level_unseen: bool = False  # timed, not exact, and too few repeats to tell run from engine
    reason: str = ""

    @property
    def whole_interval(self) -> Interval | None:
        return hull(self.interval, self.between_runs)

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


def plan_key(digest: str, measured: Mapping[str, Any]) -> str:
    """Equal where the same conversations are measured. `measured` as in metrics.json."""
    return f"{digest} {measured['warm_up']} {measured['drain']}"


def are_exact(side: Side, base: Side) -> bool:
    """Both in virtual time on the same plan: nothing else could have come out. Of two plans each
    is a draw, whose intervals count."""
    return side.is_exact and base.is_exact and side.plan == base.plan


def against(sides: Mapping[str, Side], baseline: str | None) -> dict[str, Side | None]:
    """What `baseline` means for each engine of a run: the run's own baseline engine."""
    if baseline is None or baseline not in sides:
        return {}
    return {name: sides[baseline] for name in sides if name != baseline}


def ratio_of(side: Side, base: Side, metric: Metric) -> Ratio:
    mine, other = side.number(metric), base.number(metric)
    if mine.value is None:
        return Ratio(value=None, reason=mine.reason)
    if other.value is None:
        return Ratio(value=None, reason=f"the baseline has none: {other.reason}")
    if other.value == 0:
        return Ratio(value=None, reason="the baseline is 0")
    if metric.pooled_by == "sum" and side.num_repeats != base.num_repeats:
        repeats = f"{side.num_repeats} and {base.num_repeats} repeats"
        return Ratio(value=None, reason=f"a sum over {repeats}: play as many as the baseline")
    values, base_values = _of_repeats(side, metric), _of_repeats(base, metric)
    is_one_run = side.run is not None and side.run == base.run
    over_runs = paired_ratio_interval if is_one_run else unpaired_ratio_interval
    between = over_runs(values, base_values)
    is_exact = side.is_exact and base.is_exact
    return Ratio(
        value=mine.value / other.value,
        interval=_within(side, base, metric, mine, other),
        ratios_of_runs=_ratios(values, base_values) if is_one_run else (),
        between_runs=between,
        is_level_unseen=between is None and not is_exact and not metric.is_count_of_turns,
    )


def _ratios(values: list[float], base: list[float]) -> tuple[float, ...]:
    """Repeat by repeat, where there are several and no zeros."""
    if len(values) != len(base) or len(values) < 2 or not all(base):
        return ()
    return tuple(a / b for a, b in zip(values, base, strict=True))


def _within(side: Side, base: Side, metric: Metric, mine: Number, other: Number) -> Interval | None:
    """Paired where both played the same plan and their records are at hand."""
    records, base_records = side.resampled, base.resampled
    if records is None or base_records is None or side.plan != base.plan:
        return _combined(mine, other)
    if not metric.is_latency:
        influences = records.influences_of(metric), base_records.influences_of(metric)
        return _combined(mine, other, _correlation(*influences))
    if metric.is_percentile:
        found = _resampled_ratio(records.draws_of(metric), base_records.draws_of(metric))
    elif metric.key == "mean":
        found = mean_ratio_interval(records.totals_of(metric), base_records.totals_of(metric))
    else:
        found = None
    return None if found is None else paired_interval(found, metric, mine, other)


def _correlation(influences: Floats | None, others: Floats | None) -> float:
    return 0.0 if influences is None or others is None else correlation(influences, others)


def _resampled_ratio(drawn: Floats | None, base_drawn: Floats | None) -> Interval | None:
    if drawn is None or base_drawn is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        return interval_of(drawn / base_drawn)


def _combined(mine: Number, other: Number, paired: float = 0.0) -> Interval | None:
    """`paired`: how far the two numbers vary together, a correlation."""
    if mine.value is None or mine.interval is None or other.interval is None or not other.value:
        return None
    return combined_ratio(mine.value, mine.interval, other.value, other.interval, paired)


def paired_interval(found: Interval, metric: Metric, mine: Number, other: Number) -> Interval:
    """With the ratio itself in it, which resamples of a long tail may miss. An end is open where
    too few samples bound the percentile it rests on; that clusters are few does not matter, for
    what they have in common is paired away."""
    assert mine.value is not None and other.value is not None
    ratio = mine.value / other.value
    low = None if found.low is None else min(found.low, ratio)
    high = None if found.high is None else max(found.high, ratio)
    if not metric.is_percentile or mine.num_effective is None or other.num_effective is None:
        return Interval(low=low, high=high)
    q = PERCENTILES[metric.key]
    mine_low, mine_high = interval_ranks(mine.num_effective, q)
    other_low, other_high = interval_ranks(other.num_effective, q)
    return Interval(
        low=None if mine_low is None or other_high is None else low,
        high=None if mine_high is None or other_low is None else high,
    )


def _of_repeats(side: Side, metric: Metric) -> list[float]:
    """Its value in each repeat."""
    runs = side.between_runs(metric)
    if runs is not None:
        return list(runs["values"])
    value = side.number(metric).value
    return [] if value is None or side.num_repeats > 1 else [value]


def compare_sides(side: Side, base: Side) -> list[dict[str, Any]]:
    """One entry a metric, as docs/metrics.md has them."""
    classes = side.resampled.user_classes if side.resampled is not None else ()
    metrics = [Metric(name) for name in COMPARED]
    metrics += [Metric(name, each) for each in classes for name in CLASS_METRICS]
    return [_entry(side, base, metric) for metric in metrics]


def _entry(side: Side, base: Side, metric: Metric) -> dict[str, Any]:
    mine, other, ratio = side.number(metric), base.number(metric), ratio_of(side, base, metric)
    verdict, reason = _verdict(metric, mine, other, ratio, is_exact=are_exact(side, base))
    doubt = side.doubt(metric) or base.doubt(metric)
    if doubt is not None and verdict not in ("same", "missing"):
        verdict, reason = "unclear", doubt
    return {
        "metric": metric.name,
        "user_class": metric.user_class,
        "unit": metric.unit,
        "better": metric.better,
        "value": mine.value,
        "baseline": other.value,
        "value_interval": as_json(mine.interval),
        "baseline_interval": as_json(other.interval),
        "ratio": ratio.value,
        "interval": as_json(ratio.interval),
        "between_runs": {
            "ratios": list(ratio.ratios_of_runs),
            "interval": as_json(ratio.between_runs),
        }
        if ratio.ratios_of_runs or ratio.between_runs is not None
        else None,
        "verdict": verdict,
        "reason": reason,
    }


def _verdict(
    metric: Metric, mine: Number, other: Number, ratio: Ratio, *, is_exact: bool
) -> tuple[str, str]:
    if mine.value is not None and mine.value == other.value:
        return "same", ""
    if ratio.value is None:
        return "missing", ratio.reason
    is_lower, is_higher = ratio.value < 1, ratio.value > 1
    if not is_exact:
        if ratio.whole_interval is None:
            return "unclear", f"one number a run: {REPEATS_WOULD_TELL}"
        is_lower, is_higher = _beside_one(ratio.cautious_interval, ratio.value)
    if not is_lower and not is_higher:
        is_within = any(_beside_one(ratio.whole_interval, ratio.value))
        return "unclear", UNSEEN if is_within else "the interval of the ratio holds 1"
    return "better" if is_lower == (metric.better == "lower") else "worse", ""


def _beside_one(interval: Interval | None, value: float) -> tuple[bool, bool]:
    """(the whole of it is below 1, above 1)."""
    low, high = (value, value) if interval is None else (interval.low, interval.high)
    return high is not None and high < 1, low is not None and low > 1
