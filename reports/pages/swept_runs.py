"""What the pages of a sweep and of a search for capacity share: all runs, along the setting."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from reports.drawing.palette import Look, looks
from reports.pages.html_file import write_page
from reports.pages.remarks import remark_facts, remarks_of
from reports.pages.tables import Cell, Table, sort_key
from reports.sections.along_setting import number_sections, users_section
from reports.sections.pareto import pareto_section
from reports.sections.published import cited_along, published_section
from reports.sections.section import Section
from reports.sections.sweep_points import Sweep
from reports.sections.swept_numbers import OTHERS, USERS, Json, SweptNumber
from reports.words import units
from suite.records.reading import read_run


@dataclass(frozen=True, slots=True, kw_only=True)
class TitledTable:
    title: str
    table: Table


def write_swept_runs(
    sweep: Sweep,
    runs: Sequence[Path],
    path: Path,
    *,
    kind: str,
    title: str,
    headline: str,
    users: Table,
    first: Section | None = None,
    more_tables: Sequence[TitledTable] = (),
) -> Path:
    """Writes the page: `kind`, `title`, `headline` and `users`, the first table, are what sets the
    two apart; `first` stands in place of the users along the setting. Raises RunDirectoryError."""
    look = looks(sweep.engines)
    said = _remarks(sweep)
    return write_page(
        path,
        "sweep.html.j2",
        sections=_sections(sweep, look, first or users_section(sweep, look)),
        more_tables=more_tables,
        kind=kind,
        title=title,
        sweep=sweep,
        look=look,
        remarks=remark_facts(said, sweep.engines),
        headline=headline,
        users=users,
        table=_table(sweep),
        cited=cited_along(sweep),
        warnings=_warnings(sweep, besides={text for _, text in said}),
        runs=[str(run) for run in runs],
    )


def _sections(sweep: Sweep, look: Mapping[str, Look], first: Section) -> list[Section]:
    sections = [
        first,
        *number_sections(sweep, look),
        published_section(sweep, look),
        pareto_section(sweep, look),
    ]
    return [each for each in sections if each.figures]


def _table(sweep: Sweep) -> Table:
    """Returns a line an engine and run, a column a number."""
    numbers = (USERS, *OTHERS)
    return Table(
        columns=("Engine", sweep.setting, *(each.title for each in numbers)),
        rows=tuple(
            (
                Cell(text=point.engine),
                Cell(
                    text=point.at.label,
                    detail=point.run.name + (", overloaded" if point.is_overloaded else ""),
                    sort_key=point.at.place,
                ),
                *(_cell(each, point.numbers) for each in numbers),
            )
            for point in sweep.points
        ),
    )


def _cell(number: SweptNumber, numbers: Json) -> Cell:
    value, ends = number.read(numbers)
    detail = units.interval(ends, number.show) if ends else ""
    return Cell(text=number.show(value), detail=detail, sort_key=sort_key(value))


def _remarks(sweep: Sweep) -> list[tuple[str, str]]:
    """Returns the (engine, remark) pairs of all runs, each once."""
    manifests = {run: read_run(run)[0] for run in {point.run for point in sweep.points}}
    said = [
        (point.engine, text)
        for point in sweep.points
        for texts in remarks_of(manifests[point.run], [point.engine]).values()
        for text in texts
    ]
    return list(dict.fromkeys(said))


def _warnings(sweep: Sweep, besides: Collection[str]) -> list[tuple[str, str]]:
    """Returns (where, text) pairs; what is said of several runs stands once."""
    found: dict[str, dict[str, list[str]]] = {}
    for point in sweep.points:
        for text in (each for each in point.numbers["warnings"] if each not in besides):
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
