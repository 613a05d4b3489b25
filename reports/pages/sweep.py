"""A sweep or a search for capacity as one offline file: users within SLO against load, small
multiples, and what is bought with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from reports.drawing.palette import Look, looks
from reports.pages import first_screen
from reports.pages.capacity import capacity_headline, capacity_table
from reports.pages.html_file import write_page
from reports.pages.tables import Cell, Table, sort_key
from reports.sections.along_setting import NUMBERS, USERS, number_sections, users_section
from reports.sections.pareto import pareto_section
from reports.sections.published import cited_along, published_section
from reports.sections.section import Section
from reports.sections.sweep_points import Sweep, read_sweep
from reports.words import units
from suite.records.reading import read_run
from suite.sweep.capacity_result import CapacityResult
from suite.sweep.manifest import SweepManifest

Json = Mapping[str, Any]
ENOUGH_RATIO = 0.9  # of the users within SLO, as `fsbench capacity` asks for by default


def write_sweep(
    manifest: SweepManifest,
    runs: Mapping[str, Path],
    path: Path,
    capacity: CapacityResult | None = None,
) -> Path:
    """`runs`: cell ▸ its directory; `capacity`: what a search found. Raises InputError where there
    is no setting to draw along; RunDirectoryError."""
    sweep = read_sweep(manifest, runs)
    look = looks(sweep.engines)
    return write_page(
        path,
        "sweep.html.j2",
        sections=_sections(sweep, look),
        title=_title(sweep, capacity),
        sweep=sweep,
        look=look,
        labels=_labels(list(runs.values())),
        headline=capacity_headline(capacity) if capacity else _headline(sweep),
        users=capacity_table(capacity) if capacity else _users_table(sweep),
        table=_table(sweep),
        cited=cited_along(sweep),
        warnings=_warnings(sweep),
        runs=[str(run) for run in runs.values()],
    )


def _title(sweep: Sweep, capacity: CapacityResult | None) -> str:
    if capacity is not None:
        return f"{capacity.name}: how much load is carried"
    beside = f", beside {' and '.join(sweep.others)}" if sweep.others else ""
    return f"{sweep.setting} from {sweep.ticks[0][1]} to {sweep.ticks[-1][1]}{beside}"


def _sections(sweep: Sweep, look: Mapping[str, Look]) -> list[Section]:
    sections = [
        users_section(sweep, look),
        *number_sections(sweep, look),
        published_section(sweep, look),
        pareto_section(sweep, look),
    ]
    return [each for each in sections if each.figures]


def _users_along(sweep: Sweep, engine: str) -> dict[str, list[float]]:
    """Setting ▸ users within SLO of each of its runs (seeds), where anything was measured."""
    found: dict[str, list[float]] = {label: [] for _, label in sweep.ticks}
    for point in sweep.of(engine):
        value, _ = USERS(point.numbers)
        if value is not None:
            found[point.at.label].append(value)
    return found


def _headline(sweep: Sweep) -> str:
    """Where each engine kept its promises: the values at which the median run kept enough users."""
    enough = units.percent(ENOUGH_RATIO)
    if sweep.others:
        beside = " and ".join(sweep.others)
        return f"Users within SLO, by {sweep.title} and {beside}; bold where {enough} are kept."
    engines: dict[str, list[str]] = {}
    for engine in sweep.engines:
        along = _users_along(sweep, engine)
        kept = [label for label, each in along.items() if each and median(each) >= ENOUGH_RATIO]
        text = ", ".join(kept) if len(kept) < len(along) else "every value"
        engines.setdefault(text or "no value", []).append(engine)
    said = "; ".join(f"{', '.join(names)} at {text}" for text, names in engines.items())
    return f"{enough} of the users within SLO, by {sweep.title}: {said}."


def _users_table(sweep: Sweep) -> Table:
    """A line an engine (and panel), a column a value: the median over its runs, the lowest and the
    highest."""
    beside = (", ".join(sweep.others),) if sweep.others else ()
    values = (f"{sweep.setting} {label}" for _, label in sweep.ticks)
    return Table(
        columns=("Users within SLO", *beside, *values),
        rows=tuple(
            (
                Cell(text=engine),
                *([Cell(text=panel)] if panel else []),
                *map(_users_cell, _users_along(sweep.panel(panel), engine).values()),
            )
            for panel in sweep.panels
            for engine in sweep.engines
        ),
    )


def _users_cell(ratios: Sequence[float]) -> Cell:
    if not ratios:
        return Cell(text=units.MISSING)
    middle, lowest, highest = median(ratios), min(ratios), max(ratios)
    spread = f"{units.percent(lowest)} to {units.percent(highest)}" if lowest < highest else ""
    mark = "better" if middle >= ENOUGH_RATIO else ""
    return Cell(text=units.percent(middle), detail=spread, sort_key=middle, mark=mark)


def _table(sweep: Sweep) -> Table:
    reads = [("Users within SLO", USERS, "share")] + [
        (title, read, kind) for _, title, read, kind in NUMBERS
    ]
    shows = {"share": units.percent, "duration": units.duration, "count": units.count}
    return Table(
        columns=("Engine", sweep.setting, *(title for title, _, _ in reads)),
        rows=tuple(
            (
                Cell(text=point.engine),
                Cell(
                    text=point.at.label,
                    detail=point.run.name + (", overloaded" if point.is_overloaded else ""),
                    sort_key=point.at.place,
                ),
                *(
                    Cell(
                        text=shows[kind](value),
                        detail=units.interval(ends, shows[kind]) if ends else "",
                        sort_key=sort_key(value),
                    )
                    for _, read, kind in reads
                    for value, ends in [read(point.numbers)]
                ),
            )
            for point in sweep.points
        ),
    )


def _labels(runs: Sequence[Path]) -> list[tuple[str, str]]:
    """What of the numbers is no machine's own, in any of the runs."""
    found: dict[str, list[str]] = {}
    for run in runs:
        for label, engines in first_screen.labels(read_run(run)[0]):
            found.setdefault(label, []).append(engines)
    return [(label, ", ".join(dict.fromkeys(engines))) for label, engines in found.items()]


def _warnings(sweep: Sweep) -> list[tuple[str, str]]:
    """(where, text); what is said of several runs stands once."""
    found: dict[str, dict[str, list[str]]] = {}
    for point in sweep.points:
        for text in point.numbers["warnings"]:
            places = found.setdefault(text, {}).setdefault(point.engine, [])
            places.append(", ".join(filter(None, (point.at.label, point.at.panel))))
    return [(_where(sweep, by_engine), text) for text, by_engine in found.items()]


def _where(sweep: Sweep, by_engine: Mapping[str, Sequence[str]]) -> str:
    if sum(map(len, by_engine.values())) == len(sweep.points):
        return "every run"
    return "; ".join(
        f"{engine}, {sweep.setting} {' and '.join(dict.fromkeys(places))}"
        for engine, places in by_engine.items()
    )
