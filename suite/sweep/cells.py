"""The cells of a sweep made ready: each checked, its plan named by its digest, before any is
run."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.playing.workload import Workload, resolve_workload
from workloads.matrix import Cell
from workloads.plan import Plan
from workloads.source import WorkloadSource
from workloads.spec import spec_of

NOT_IN_PLAN = ("name", "engines", "baseline", "repeats", "gates", "references", "measure", "driver")
MAX_PLANS_KEPT = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepCell:
    """One run to be made, small enough to be sent to another process or machine."""

    name: str
    values: dict[str, Any]  # by the axis's key
    source: WorkloadSource
    plan_digest: str
    workload: dict[str, Any]  # as its manifest will have them
    engines: dict[str, dict[str, Any]]
    is_virtual: bool  # may be run beside others


class CellLoader:
    """Checks cells; those that differ in their engines only share a plan, which is built once."""

    def __init__(self) -> None:
        self._plans: OrderedDict[str, Plan] = OrderedDict()

    def load(self, name: str, values: dict[str, Any], source: WorkloadSource) -> SweepCell:
        """Returns one cell, checked. Raises WorkloadError or GateError, one line."""
        workload = self._resolve(source)
        return SweepCell(
            name=name,
            values=values,
            source=source,
            plan_digest=workload.plan.digest,
            workload=workload.as_json(),
            engines=workload.engines_as_json(),
            is_virtual=workload.is_virtual,
        )

    def _resolve(self, source: WorkloadSource) -> Workload:
        traffic = spec_of(source).model_dump(mode="json", exclude=set(NOT_IN_PLAN))
        key = json.dumps(traffic, sort_keys=True)
        workload = resolve_workload(source, plan=self._plans.get(key))
        self._plans[key] = workload.plan
        if len(self._plans) > MAX_PLANS_KEPT:
            self._plans.popitem(last=False)
        return workload


def load_cells(cells: Sequence[Cell]) -> tuple[SweepCell, ...]:
    """Returns the cells, each checked.

    Raises WorkloadError or GateError of the first that can not be run.
    """
    loader = CellLoader()
    return tuple(loader.load(each.name, each.values, each.source) for each in cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTask:
    """A cell with the directory its run goes to."""

    cell: SweepCell
    directory: Path
