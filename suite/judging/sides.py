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
        cache, pace = self.numbers.get("prefix_cache", {}), self.numbers.get("pace")
        return reason_to_doubt(metric.row, cache, pace, self.numbers.get("tbt_doubt"))

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


def reason_to_doubt(
    row: Row,
    prefix_cache: Mapping[str, Any],
    pace: Mapping[str, Any] | None,
    tbt_doubt: str | None,
) -> str | None:
    """Returns why gaps that were lost on the way, a warm prefix cache or a missed pace falsify a
    metric, None where none does. All as in metrics.json; files of before have none of them."""
    if row.is_of_gaps and tbt_doubt is not None:
        return tbt_doubt
    if not row.is_true_of_a_warm_cache:
        why = cache_doubt(prefix_cache, with_solo=row.computed_from == "solo run")
        if why is not None:
            return why
    return pace_doubt(pace) if row.is_timed else None


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
