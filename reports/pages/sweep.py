"""A sweep or a search for capacity as one offline file: users within SLO against load, small
multiples, and what is bought with what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from reports.blocks.block import Block, Figure
from reports.drawing.palette import Look, looks
from reports.figures.sweep import Read, along_setting, pareto
from reports.pages import page
from reports.pages.capacity import capacity_headline, capacity_table
from reports.pages.cited_sweep import cited_along, published_block
from reports.pages.offline_page import write_page
from reports.pages.tables import Cell, Table, sort_key
from reports.views.sweep import Sweep, read_sweep
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
        blocks=_blocks(sweep, look),
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


def _number(group: str, key: str) -> Read:
    """From an engine's part of metrics.json; None where the group was not measured."""

    def read(numbers: Json) -> tuple[float | None, units.Ends | None]:
        found = numbers[group] or {}
        return found.get(key), (found.get("interval") or {}).get(key)

    return read


_USERS = _number("slo", "users_within_slo_ratio")
_TOKENS = _number("throughput", "output_tokens_per_s")
# (id, title, axis, how it is read, kind)
_MULTIPLES: tuple[tuple[str, str, Read, str], ...] = (
    ("attainment", "Turns within SLO", _number("slo", "turn_attainment_ratio"), "share"),
    ("ttft", "P99 TTFT", _number("ttft_s", "p99"), "duration"),
    ("tbt", "P99 TBT", _number("tbt_s", "p99"), "duration"),
    ("tokens", "Output tokens/s", _TOKENS, "count"),
    ("goodput", "Turns within SLO/s", _number("throughput", "goodput_turns_per_s"), "count"),
    ("preemptions", "Preemptions", _number("context_switch", "num_preemptions"), "count"),
)


def _blocks(sweep: Sweep, look: Mapping[str, Look]) -> list[Block]:
    users = _panels(sweep, look, ("users", "Users within SLO", _USERS, "share"))
    front = Figure(
        figure_id="sweep-pareto",
        title="Output tokens/s against users within SLO",
        note="",
        figure=pareto(sweep, look, ("output tokens/s", _TOKENS), ("users within SLO", _USERS)),
    )
    return [
        Block(
            title=f"Users within SLO against {sweep.setting}",
            term="users_within_slo",
            how_to_read="The longer a line stays up, the more load the engine carries before it "
            "breaks its promises; whiskers are 95 % intervals, hollow marks were overloaded.",
            figures=users,
        ),
        *_number_blocks(sweep, look),
        *([cited] if (cited := published_block(sweep, look)).figures else []),
        Block(
            title="What is bought with what",
            term="pareto",
            how_to_read="Up and to the right is better in both; each point is a run, and ringed "
            "ones are those that no other beats in both directions.",
            figures=(front,),
        ),
    ]


def _panels(
    sweep: Sweep, look: Mapping[str, Look], multiple: tuple[str, str, Read, str]
) -> tuple[Figure, ...]:
    """A figure for each combination of the other settings, all on the same axes."""
    name, title, read, kind = multiple
    return tuple(
        Figure(
            figure_id=f"sweep-{name}-{number}" if panel else f"sweep-{name}",
            title=panel or title,
            note="",
            figure=along_setting(sweep, look, title, read, kind, panel=panel),
        )
        for number, panel in enumerate(sweep.panels)
    )


def _number_blocks(sweep: Sweep, look: Mapping[str, Look]) -> list[Block]:
    """All numbers in one block; with panels, one block a number."""
    how = (
        f"Every figure has {sweep.setting} across; where a time bends upwards or a share falls, "
        "the engine has reached its limit. Times are on a log scale."
    )
    drawn = {
        title: _panels(sweep, look, (name, title, read, kind))
        for name, title, read, kind in _MULTIPLES
        if any(read(point.numbers)[0] is not None for point in sweep.points)
    }
    blocks = {f"{title} against {sweep.setting}": figures for title, figures in drawn.items()}
    if not sweep.others:
        blocks = {"The same, number by number": tuple(f for each in drawn.values() for f in each)}
    return [
        Block(title=title, term="interval", how_to_read=how, figures=figures)
        for title, figures in blocks.items()
    ]


def _users_along(sweep: Sweep, engine: str) -> dict[str, list[float]]:
    """Setting ▸ users within SLO of each of its runs (seeds), where anything was measured."""
    found: dict[str, list[float]] = {label: [] for _, label in sweep.ticks}
    for point in sweep.of(engine):
        value, _ = _USERS(point.numbers)
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
    reads = [("Users within SLO", _USERS, "share")] + [
        (title, read, kind) for _, title, read, kind in _MULTIPLES
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
        for label, engines in page.labels(read_run(run)[0]):
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
