"""What a sweep's figures draw: the numbers of its runs along one setting, the others in panels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from suite.judging.metrics_file import read_metrics
from suite.sweep.manifest import AxisEntry, SweepManifest
from workloads.errors import InputError

Json = Mapping[str, Any]
# Other draws of the same, or of no consequence for what is played.
NOT_AN_AXIS = ("seed", "gates", "references", "baseline", "repeats")
MAX_PANELS = 12
UNITS = {"arrivals.rate": "conversations/s", "arrivals.concurrency": "conversations at a time"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Says where a run stands among the others."""

    place: float  # on the axis
    label: str  # of the setting's value there
    panel: str  # the values of the other settings; empty without any


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """Holds one engine in one run."""

    engine: str
    at: Place
    run: Path
    numbers: Json  # the engine's part of metrics.json

    @property
    def is_overloaded(self) -> bool:
        """Whether its backlog grew to the end: its times then say as much of the run's length."""
        return bool((self.numbers.get("steady_state") or {}).get("is_overloaded"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CitedPoint:
    """Holds one run beside one published figure."""

    at: Place
    entry: Json  # of metrics.json's references


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Holds all runs along the setting. `ticks`: (place, label) of every value; a number stands at
    its own place."""

    setting: str
    others: tuple[str, ...]  # settings that differ from panel to panel
    panels: tuple[str, ...]  # one without others
    ticks: tuple[tuple[float, str], ...]
    points: tuple[SweepPoint, ...]  # by engine, then along the axis
    cited: tuple[CitedPoint, ...]  # along the axis
    bands: Mapping[str, tuple[float, float]] = field(default_factory=dict)  # by engine, shaded
    is_by_ratio: bool = False  # neighbouring values differ by a ratio, as in a search

    @property
    def title(self) -> str:
        """Returns the setting with its unit, where that is not in the values."""
        unit = UNITS.get(self.setting)
        return f"{self.setting}, {unit}" if unit else self.setting

    @property
    def engines(self) -> list[str]:
        return list(dict.fromkeys(each.engine for each in self.points))

    def panel(self, name: str) -> Sweep:
        """Returns the part of it that is drawn in one figure."""
        return replace(
            self,
            panels=(name,),
            points=tuple(each for each in self.points if each.at.panel == name),
            cited=tuple(each for each in self.cited if each.at.panel == name),
        )

    def of(self, engine: str) -> list[SweepPoint]:
        return [each for each in self.points if each.engine == engine]


def read_sweep(manifest: SweepManifest, runs: Mapping[str, Path]) -> Sweep:
    """Reads the runs that were measured; `runs`: cell ▸ its run's directory. Raises InputError
    where no setting beside the seed has two values, or the others have too many combinations."""
    axes = [axis for axis in manifest.axes if axis.key not in NOT_AN_AXIS and len(axis.values) > 1]
    if not axes:
        raise InputError(
            "no setting beside the seed has two values: there is nothing to draw along"
        )
    across = _across(axes)
    others = [axis for axis in axes if axis is not across]
    places = _places(across.values)
    points, cited = [], []
    for cell in (each for each in manifest.cells if each.name in runs):
        at = Place(
            place=places[_key(cell.values[across.key])],
            label=_label(across, cell.values[across.key]),
            panel=", ".join(
                f"{each.label} {_label(each, cell.values[each.key])}" for each in others
            ),
        )
        metrics = read_metrics(runs[cell.name])
        points += [
            SweepPoint(engine=engine, at=at, run=runs[cell.name], numbers=numbers)
            for engine, numbers in metrics["engines"].items()
        ]
        # A file of before has no references.
        cited += [CitedPoint(at=at, entry=entry) for entry in metrics.get("references", [])]
    return _checked(across, others, points, cited)


def _checked(
    across: AxisEntry,
    others: Sequence[AxisEntry],
    points: Sequence[SweepPoint],
    cited: Sequence[CitedPoint],
) -> Sweep:
    panels = tuple(dict.fromkeys(each.at.panel for each in points))
    if len(panels) > MAX_PANELS:
        raise InputError(
            f"{', '.join(each.key for each in others)} have {len(panels)} combinations beside "
            f"{across.key}, a page holds {MAX_PANELS}: sweep.parquet has all of them"
        )
    order = {engine: row for row, engine in enumerate(dict.fromkeys(p.engine for p in points))}
    ticks = dict(sorted({each.at.place: each.at.label for each in points}.items()))
    return Sweep(
        setting=across.key,
        others=tuple(each.key for each in others),
        panels=panels,
        ticks=tuple(ticks.items()),
        points=tuple(sorted(points, key=lambda each: (order[each.engine], each.at.place))),
        cited=tuple(sorted(cited, key=lambda each: each.at.place)),
    )


def _across(axes: Sequence[AxisEntry]) -> AxisEntry:
    """Returns the load where it is swept, else the first setting that is a number."""
    loads = [axis for axis in axes if axis.key in UNITS]
    numbers = [axis for axis in axes if all(map(_is_number, axis.values))]
    return (loads or numbers or list(axes))[0]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _places(values: Sequence[Any]) -> dict[str, float]:
    """Returns where each value stands on the axis: numbers where they belong, anything else one
    after the other."""
    if all(map(_is_number, values)):
        return {_key(each): float(each) for each in values}
    return {_key(each): float(place) for place, each in enumerate(values)}


def _key(value: Any) -> str:
    """Returns a text that is the same for equal values: 1 and 1.0 are one value, and mappings have
    no hash."""
    return json.dumps(value * 1.0 if _is_number(value) else value, sort_keys=True)


def _label(axis: AxisEntry, value: object) -> str:
    """Returns a mapping's number, by which its cell is named, or the value; a number is short if
    that tells it from the others."""
    if isinstance(value, dict | list):
        return f"variant{[_key(each) for each in axis.values].index(_key(value)) + 1}"
    if not isinstance(value, float):
        return str(value)
    alike = {
        each for each in axis.values if isinstance(each, float) and _short(each) == _short(value)
    }
    return _short(value) if len(alike) < 2 else repr(value)


def _short(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:g}"
