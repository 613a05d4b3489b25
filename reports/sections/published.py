"""How many times better along a swept setting, over the band that others published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, times_axis
from reports.drawing.palette import Look
from reports.pages.references import (
    CitedTable,
    band_text,
    metric_label,
    ours_label,
    published_label,
)
from reports.pages.tables import Cell, Table
from reports.sections.along_setting import median_line, setting_axis, whiskers
from reports.sections.section import Figure, Section
from reports.sections.sweep_points import CitedPoint, Sweep
from reports.words import units

_Key = tuple[str, str, str, str, str]  # published as, ours as, engine, baseline, panel
BAND_COLOUR = "#DDCC77"  # Tol's "muted": no engine has it


def beside_published(sweep: Sweep, points: Sequence[CitedPoint], look: Look) -> go.Figure:
    """Draws a mark a run with 95 % whiskers, and a line through the median of the runs (seeds) at a
    value, on a log scale; the dashed line at 1 is as good as the other. `points` have a factor."""
    factors = [each.entry["times_better"] for each in points]
    published = points[0].entry["published"]
    low, high = published[0] or 1.0, published[1] or max(factors)
    figure = go.Figure(layout=base_layout(height=320))
    figure.add_hrect(y0=low, y1=high, fillcolor=BAND_COLOUR, opacity=0.35, line_width=0)
    figure.add_hline(y=1, line={"color": "#888", "dash": "dash", "width": 1})
    figure.add_trace(_marks(points, look))
    line = median_line([(each.at.place, each.entry["times_better"]) for each in points], look)
    figure.add_trace(line)
    figure.add_trace(_band_entry(published))
    figure.update_xaxes(setting_axis(sweep))
    figure.update_yaxes(times_axis(min(low, *factors), max(high, *factors), "times better"))
    return figure


def _marks(points: Sequence[CitedPoint], look: Look) -> go.Scatter:
    factors = [each.entry["times_better"] for each in points]
    return go.Scatter(
        name="here",
        x=[each.at.place for each in points],
        y=factors,
        mode="markers",
        marker={"size": 8, "color": look.colour, "symbol": look.symbol},
        error_y=whiskers([(each.entry["times_better"], each.entry["interval"]) for each in points]),
        text=[_words(each) for each in points],
        hovertemplate="%{text}<extra></extra>",
    )


def _band_entry(published: units.Ends) -> go.Scatter:
    """Draws nothing but the legend's entry for the band, which has no trace of its own."""
    return go.Scatter(
        name=f"published, {band_text(published)}",
        x=[None],
        y=[None],
        mode="markers",
        marker={"symbol": "square", "size": 12, "color": BAND_COLOUR, "opacity": 0.6},
    )


def _words(point: CitedPoint) -> str:
    entry = point.entry
    found = f"{point.at.label}: {units.times(entry['times_better'])}"
    return f"{found} (95 %: {units.interval(entry['interval'], units.times)})"


def published_section(sweep: Sweep, look: Mapping[str, Look]) -> Section:
    """Draws a figure a number that any run has; none where nothing is cited."""
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
    return Section(
        title=f"Published figures beside this sweep, over {sweep.setting}",
        term="references",
        how_to_read="The shaded band is what others published, on their machine and their work; "
        "the marks are runs of this sweep. It is no reproduction of their figures. Above the "
        "dashed line the first engine is better.",
        figures=tuple(figures),
    )


def cited_along(sweep: Sweep) -> list[CitedTable]:
    """Returns tables with a line a number, a column a value of the setting: the median over its
    runs, and the lowest and highest of them."""
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
    """Yields, for each number that is cited, its key, its metric and the runs along the setting."""
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
