"""A sweep as one offline file: users within SLO against the setting, number by number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from reports.pages.swept_runs import write_swept_runs
from reports.pages.tables import Cell, Table
from reports.sections.sweep_points import Sweep, read_sweep
from reports.sections.swept_numbers import USERS
from reports.words import units
from suite.sweep.manifest import SweepManifest

ENOUGH_RATIO = 0.9  # of the users within SLO, as `fsbench capacity` asks for by default


def write_sweep(manifest: SweepManifest, runs: Mapping[str, Path], path: Path) -> Path:
    """Writes the page; `runs`: cell ▸ its directory. Raises InputError where there is no setting to
    draw along; RunDirectoryError."""
    sweep = read_sweep(manifest, runs)
    return write_swept_runs(
        sweep,
        list(runs.values()),
        path,
        kind="sweep",
        title=_title(sweep),
        headline=_headline(sweep),
        users=_users_table(sweep),
    )


def _title(sweep: Sweep) -> str:
    beside = f", beside {' and '.join(sweep.others)}" if sweep.others else ""
    return f"{sweep.setting} from {sweep.ticks[0][1]} to {sweep.ticks[-1][1]}{beside}"


def _users_along(sweep: Sweep, engine: str) -> dict[str, list[float]]:
    """Returns, by value of the setting, the users within SLO of each run there (one a seed) that
    measured any."""
    found: dict[str, list[float]] = {label: [] for _, label in sweep.ticks}
    for point in sweep.of(engine):
        value, _ = USERS.read(point.numbers)
        if value is not None:
            found[point.at.label].append(value)
    return found


def _headline(sweep: Sweep) -> str:
    """Names the values at which each engine kept enough users, by the median of the runs there."""
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
    """Returns a line an engine (and panel), a column a value: the median over its runs, the lowest
    and the highest."""
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
