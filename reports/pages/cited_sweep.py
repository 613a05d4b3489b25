"""Published figures beside a whole sweep: how the factor moves along the setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from statistics import median

from reports.blocks.block import Block, Figure
from reports.drawing.palette import Look
from reports.figures.references import beside_published
from reports.pages.references import (
    CitedTable,
    band_text,
    metric_label,
    ours_label,
    published_label,
)
from reports.pages.tables import Cell, Table
from reports.views.sweep import CitedPoint, Sweep
from reports.words import units

_Key = tuple[str, str, str, str, str]  # published as, ours as, engine, baseline, panel


def published_block(sweep: Sweep, look: Mapping[str, Look]) -> Block:
    """A figure a number that any run has; no figures where nothing is cited."""
    figures = [
        Figure(
            figure_id=f"cited-{number}",
            title=f"{metric_label(metric)}, {key[2]} against {key[3]}{_of_panel(key)}",
            note="",
            figure=beside_published(sweep, known, look[key[2]]),
        )
        for number, (key, metric, points) in enumerate(_series(sweep))
        if (known := [each for each in points if each.entry["times_better"] is not None])
    ]
    return Block(
        title=f"Published figures beside this sweep, over {sweep.setting}",
        term="references",
        how_to_read="The shaded band is what others published, on their machine and their work; "
        "the marks are runs of this sweep. It is no reproduction of their figures. Above the "
        "dashed line the first engine is better.",
        figures=tuple(figures),
    )


def cited_along(sweep: Sweep) -> list[CitedTable]:
    """A line a number, a column a value of the setting: the median over its runs, and the lowest
    and highest of them."""
    groups: dict[_Key, list[tuple[str, list[CitedPoint]]]] = {}
    for key, metric, points in _series(sweep):
        groups.setdefault(key, []).append((metric, points))
    labels = [label for _, label in sweep.ticks]
    return [
        CitedTable(
            title=f"{key[2]} against {key[3]}, by how many times better: {key[1]}{_of_panel(key)}",
            table=Table(
                columns=("", key[0], *(f"{sweep.setting} {each}" for each in labels)),
                rows=tuple(_row(metric, points, labels) for metric, points in series),
            ),
            notes=tuple(
                dict.fromkeys(
                    each.entry["note"]
                    for _, points in series
                    for each in points
                    if each.entry["note"]
                )
            ),
        )
        for key, series in groups.items()
    ]


def _series(sweep: Sweep) -> Iterator[tuple[_Key, str, list[CitedPoint]]]:
    found: dict[tuple[_Key, str, str], list[CitedPoint]] = {}
    for point in sweep.cited:
        entry = point.entry
        pair = (entry["engine"], entry["baseline"])
        key = (published_label(entry), ours_label(entry), *pair, point.at.panel)
        found.setdefault((key, entry["metric"], repr(entry["published"])), []).append(point)
    for (key, metric, _), points in found.items():
        yield key, metric, points


def _of_panel(key: _Key) -> str:
    return f", {key[4]}" if key[4] else ""


def _row(metric: str, points: list[CitedPoint], labels: list[str]) -> tuple[Cell, ...]:
    return (
        Cell(text=metric_label(metric)),
        Cell(text=band_text(points[0].entry["published"])),
        *(_cell([each for each in points if each.at.label == label]) for label in labels),
    )


def _cell(points: list[CitedPoint]) -> Cell:
    factors = [each.entry["times_better"] for each in points]
    known = [each for each in factors if each is not None]
    if not known:
        return Cell(text=units.MISSING, detail=points[0].entry["reason"] if points else "")
    spread = f"{units.times(min(known))} to {units.times(max(known))}" if len(known) > 1 else ""
    return Cell(text=units.times(median(known)), detail=spread)
