"""What a sweep's figures draw: the numbers of many runs that differ in one setting."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.errors import InputError
from suite.metrics import read_run, write_metrics
from suite.run_directory import SCHEMA_VERSION

Json = Mapping[str, Any]
# Set anew by a sweep along with what it varies, or of no consequence for what is played.
NOT_AN_AXIS = ("name", "seed", "gates", "references", "baseline", "repeats")
UNITS = {"arrivals.rate": "conversations/s", "arrivals.concurrency": "conversations at a time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One engine in one run."""

    engine: str
    place: float  # on the axis
    label: str  # of the setting
    run: Path
    numbers: Json  # the engine's part of metrics.json

    @property
    def is_overloaded(self) -> bool:
        """Its backlog grew to the end: its times say as much of the run's length."""
        return bool((self.numbers.get("steady_state") or {}).get("is_overloaded"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedPoint:
    """One run beside one published figure."""

    place: float
    label: str
    entry: Json  # of metrics.json's references


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """`ticks`: (place, label) of every value; a number stands at its own place."""

    setting: str
    ticks: tuple[tuple[float, str], ...]
    points: tuple[SweepPoint, ...]  # by engine, then along the axis
    cited: tuple[CitedPoint, ...]  # along the axis

    @property
    def title(self) -> str:
        """The setting with its unit, where it is not in the values."""
        unit = UNITS.get(self.setting)
        return f"{self.setting}, {unit}" if unit else self.setting

    @property
    def engines(self) -> list[str]:
        return list(dict.fromkeys(each.engine for each in self.points))

    def of(self, engine: str) -> list[SweepPoint]:
        return [each for each in self.points if each.engine == engine]


def read_sweep(runs: Sequence[Path]) -> Sweep:
    """Raises InputError unless the runs' workloads differ in exactly one setting."""
    workloads, metrics = {}, {}
    for run in runs:
        workloads[run] = dict(_flat(read_run(run)[0].workload))
        metrics[run] = read_metrics(run)
    setting = _setting(workloads)
    values = {run: workload.get(setting) for run, workload in workloads.items()}
    place_of = _places(list(dict.fromkeys(values.values())))
    points = [
        SweepPoint(
            engine=engine,
            place=place_of[values[run]],
            label=_label(values[run]),
            run=run,
            numbers=numbers,
        )
        for run in runs
        for engine, numbers in metrics[run]["engines"].items()
    ]
    cited = [
        CitedPoint(place=place_of[values[run]], label=_label(values[run]), entry=entry)
        for run in runs
        for entry in metrics[run].get("references", [])  # a file of before has none
    ]
    order = {engine: row for row, engine in enumerate(dict.fromkeys(p.engine for p in points))}
    return Sweep(
        setting=setting,
        ticks=tuple((place, _label(value)) for value, place in place_of.items()),
        points=tuple(sorted(points, key=lambda each: (order[each.engine], each.place))),
        cited=tuple(sorted(cited, key=lambda each: each.place)),
    )


def _places(values: Sequence[Any]) -> dict[Any, float]:
    """Numbers stand where they belong, anything else one after the other."""
    if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values):
        return {each: float(each) for each in sorted(values)}
    return {each: float(place) for place, each in enumerate(values)}


def _label(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_metrics(run: Path) -> dict[str, Any]:
    """The run's metrics.json; measured where there is none, or one of another version."""
    path = run / "metrics.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found.get("schema_version") == SCHEMA_VERSION:
            return found
    return write_metrics(run)


def _setting(workloads: Mapping[Path, Json]) -> str:
    keys = list(dict.fromkeys(key for each in workloads.values() for key in each))
    varied = [
        key
        for key in keys
        if key not in NOT_AN_AXIS and len({repr(each.get(key)) for each in workloads.values()}) > 1
    ]
    if len(varied) != 1:
        what = f"in {len(varied)}: {', '.join(varied[:5])}" if varied else "in none"
        raise InputError(
            f"a sweep's runs differ in exactly one setting of the workload, these differ {what}; "
            "name runs of one sweep"
        )
    return varied[0]


def _flat(value: Json, before: str = "") -> Iterator[tuple[str, Any]]:
    """`arrivals.rate`: the leaves of nested settings by dotted key; a list is a leaf."""
    for key, each in value.items():
        if isinstance(each, Mapping):
            yield from _flat(each, f"{before}{key}.")
        elif isinstance(each, list):
            if f"{before}{key}" not in NOT_AN_AXIS:
                yield f"{before}{key}", json.dumps(each)
        else:
            yield f"{before}{key}", each
