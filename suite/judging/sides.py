"""An engine's numbers as one side of a comparison: measured in a run, or stored in a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import Metric
from suite.judging.look_up import Number, look_up, repeats_of
from suite.judging.paired_samples import PairedSamples
from suite.measuring.cache_isolation import doubt as cache_doubt
from suite.measuring.engine_run import EngineRun
from suite.measuring.pace import doubt as pace_doubt
from suite.statistics.quantiles import Interval

DRIVER_NOTE = "the driver was out of its bounds (see the warnings): the time may be its own"


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

    def lateness(self, metric: Metric) -> Interval | None:
        """Returns between which values its number lies had all turns been sent in time; None where
        they were."""

    @property
    def num_conversations(self) -> int: ...

    @property
    def num_repeats(self) -> int:
        """How many were played."""

    @property
    def run(self) -> Path | None:
        """The run's directory; None where it is not at hand."""

    @property
    def plan(self) -> str:
        """The digest of the plan and what of it was measured: equal ones can be paired."""

    @property
    def paired_samples(self) -> PairedSamples | None:
        """None where the records are not at hand."""

    def number(self, metric: Metric) -> Number: ...

    def between_runs(self, metric: Metric) -> Mapping[str, Any] | None:
        """`values` and `interval` over its repeats; None with a single one."""


@dataclass(frozen=True)
class EngineSide:
    """An engine of a run directory. Without records (None) its ratios come from intervals."""

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
        return reason_to_doubt(metric.row, self.numbers)

    def lateness(self, metric: Metric) -> Interval | None:
        return range_of(self.numbers.get("lateness"), metric)

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
    def paired_samples(self) -> PairedSamples | None:
        return None if self.records is None else PairedSamples(self.records)

    def number(self, metric: Metric) -> Number:
        return look_up(self.numbers, metric)

    def between_runs(self, metric: Metric) -> Mapping[str, Any] | None:
        return repeats_of(self.numbers, metric)


def reason_to_doubt(row: Row, found: Mapping[str, Any]) -> str | None:
    """Returns why a driver out of its bounds, gaps that were lost on the way, a warm prefix cache
    or a missed pace falsify a metric, None where none does. `found` has an engine's keys of
    metrics.json; files of before lack some."""
    if row.is_timed and found.get("is_driver_valid") is False:
        return DRIVER_NOTE
    for is_touched, key in ((row.is_of_gaps, "tbt_doubt"), (row.is_of_spans, "tpot_doubt")):
        if is_touched and found.get(key) is not None:
            return str(found[key])
    if not row.is_true_of_a_warm_cache:
        with_solo = row.computed_from == "solo run"
        why = cache_doubt(found.get("prefix_cache") or {}, with_solo=with_solo)
        if why is not None:
            return why
    return pace_doubt(found.get("pace")) if row.is_timed else None


def range_of(lateness: Mapping[str, Any] | None, metric: Metric) -> Interval | None:
    """Returns a metric's range in `lateness` of metrics.json; None where no turn was late, or it
    has nothing to do with when they were sent."""
    found = None if lateness is None else lateness["ranges"].get(metric.label)
    return None if found is None else Interval(low=found[0], high=found[1])


def plan_key(digest: str, measured: Mapping[str, Any]) -> str:
    """Returns text that is equal where the same conversations are measured; `measured` as in
    metrics.json."""
    return f"{digest} {measured['warm_up']} {measured['drain']}"


def are_exact(side: Side, base: Side) -> bool:
    """Whether both were played in virtual time on the same plan: nothing else could have come out.
    Of two plans each is a draw, whose intervals count."""
    return side.is_exact and base.is_exact and side.plan == base.plan


def against(sides: Mapping[str, Side], baseline: str | None) -> dict[str, Side | None]:
    """What `baseline` means for each engine of a run: the run's own baseline engine."""
    if baseline is None or baseline not in sides:
        return {}
    return {name: sides[baseline] for name in sides if name != baseline}
