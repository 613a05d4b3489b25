"""Intervals drawn: ratios to the baseline around 1, gates against their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, times_axis
from reports.drawing.palette import faded
from reports.sections.section import Figure, Section
from reports.words import units
from reports.words.wording import (
    EXACT_NOTE,
    entry_name,
    gate_name,
    interval_text,
    times_interval_text,
    value_text,
)
from suite.judging.catalogue.table import shown_in

Json = Mapping[str, Any]
# Verdict or outcome ▸ colour and mark; told apart without colour too.
MARKS = {
    "better": ("#009988", "triangle-up"),
    "pass": ("#009988", "circle"),
    "worse": ("#CC3311", "triangle-down"),
    "fail": ("#CC3311", "x"),
    "unclear": ("#8A8F98", "diamond"),
    "inconclusive": ("#8A8F98", "diamond"),
    "same": ("#8A8F98", "circle"),
}
OPEN = 1000.0  # an open end is drawn this many times further than the value
MAX_REACH = 100.0  # of the axis, in times to either side
# What of a comparison is drawn; the table holds all of it.
DRAWN = tuple(row.name for row in shown_in("drawn ratios"))
KEPT = "#009988"  # shade of the side on which a bound is kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Holds one ratio and how it was judged."""

    name: str
    ratio: float
    ends: units.Ends | None
    verdict: str  # key of MARKS
    words: str  # of the tooltip
    kept: Literal["below", "above"] | None = None  # the side of 1 to shade


def ratio_intervals(rows: Sequence[Row], title: str) -> go.Figure:
    """Draws a mark a row, with the interval of its ratio as a whisker. The line is at 1, on a log
    scale, so that half and double are equally far."""
    seen = [end for row in rows for end in (row.ratio, *(row.ends or ())) if end]
    figure = go.Figure(layout=_layout(len(rows), seen, title))
    figure.update_layout(shapes=[*figure.layout.shapes, *_kept_sides(rows)])
    for verdict in MARKS:
        if any(row.verdict == verdict for row in rows):
            figure.add_trace(_marks(rows, verdict))
    figure.update_yaxes(tickvals=list(range(len(rows))))
    for place, row in enumerate(rows):
        figure.add_annotation(_name(place, row.name))
    return figure


def _marks(rows: Sequence[Row], verdict: str) -> go.Scatter:
    """Draws the rows of one verdict."""
    colour, symbol = MARKS[verdict]
    mine = [(place, row) for place, row in enumerate(rows) if row.verdict == verdict]
    ratios = [row.ratio for _, row in mine]
    ends = [row.ends or (row.ratio, row.ratio) for _, row in mine]
    return go.Scatter(
        name=verdict,
        mode="markers",
        x=ratios,
        y=[place for place, _ in mine],
        marker={"color": colour, "symbol": symbol, "size": 10},
        error_x={
            "type": "data",
            "symmetric": False,
            "array": _distances(ratios, [each[1] for each in ends], OPEN),
            "arrayminus": _distances(ratios, [each[0] for each in ends], 1 / OPEN),
            "thickness": 2,
            "width": 5,
            "color": colour,
        },
        text=[row.words for _, row in mine],
        hovertemplate="%{text}<extra></extra>",
    )


def _name(place: int, name: str) -> dict[str, Any]:
    """Stands above its line, for beside it a long name leaves a narrow page no room."""
    return {
        "text": name,
        "showarrow": False,
        "bgcolor": "#fff",  # the page's own, so that no line runs through it
        "borderpad": 0,
        "xref": "x domain",
        "x": 0,
        "xanchor": "left",
        "y": place,
        "yanchor": "bottom",
        "yshift": 6,
    }


def _kept_sides(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Returns a band for each row that has a bound, over the side on which it is kept."""
    far = OPEN * MAX_REACH  # beyond the axis
    return [
        {
            "type": "rect",
            "x0": 1,
            "x1": far if row.kept == "above" else 1 / far,
            "y0": place - 0.62,  # the name, above the mark, stands in it
            "y1": place + 0.3,
            "line": {"width": 0},
            "fillcolor": faded(KEPT),
            "layer": "below",
        }
        for place, row in enumerate(rows)
        if row.kept is not None
    ]


def _distances(
    ratios: Sequence[float], ends: Sequence[float | None], open_at: float
) -> list[float]:
    return [
        abs((end or ratio * open_at) - ratio)  # a log axis has no 0 either
        for ratio, end in zip(ratios, ends, strict=True)
    ]


def _layout(num_rows: int, seen: Sequence[float], title: str) -> go.Layout:
    axis = times_axis(
        max(min(seen, default=1.0), 1 / MAX_REACH),
        min(max(seen, default=1.0), MAX_REACH),
        title,
        num_ticks=6,
    )
    return base_layout(
        height=110 + 34 * num_rows,
        showlegend=True,  # of one verdict too
        margin={"l": 16, "r": 16, "t": 16, "b": 52},
        xaxis=axis,
        yaxis={
            "range": [num_rows - 0.5, -0.8],
            "zeroline": False,
            "showticklabels": False,  # names are annotations: labels inside hide ticks below them
        },
        shapes=[
            {
                "type": "line",
                "x0": 1,
                "x1": 1,
                "y0": 0,
                "y1": 1,
                "yref": "y domain",
                "line": {"color": "#888", "width": 2, "dash": "dash"},
            }
        ],
    )


def gate_bounds(gates: Sequence[Json]) -> Section:
    """Draws each gate's number in multiples of its bound; a bound of 0 has no multiple."""
    rows = [_gate_row(gate) for gate in gates if _has_multiple(gate)]
    left_out = len(gates) - len(rows)
    note = f"{left_out} with a bound or a value of 0, or without a value, stand in the table only."
    figure = Figure(
        figure_id="ratios-gates",
        title="Observed against the bound",
        note=note if left_out else "",
        figure=ratio_intervals(rows, "observed, in multiples of the bound"),
    )
    return Section(
        title="Gates against their bounds",
        term="gates",
        how_to_read="At the dashed line a number is as large as its bound, and in the shaded part "
        "of its row it keeps the bound: to the left for at most (<=), to the right for at least "
        "(>=). A whisker that crosses the line: inconclusive, more conversations or repeats would "
        "tell.",
        figures=(figure,) if rows else (),
    )


def _has_multiple(gate: Json) -> bool:
    return bool(gate["observed"]) and bool(gate["bound"])


def _gate_row(gate: Json) -> Row:
    metric, bound = gate["metric"], gate["bound"]
    ends = gate["interval"]
    words = (
        f"{value_text(metric, gate['observed'])} ({interval_text(metric, ends)}), "
        f"bound {gate['operator']} {value_text(metric, bound)}: {gate['outcome']}"
    )
    return Row(
        name=gate_name(gate),
        ratio=gate["observed"] / bound,
        ends=ends and [None if end is None else end / bound for end in ends],
        verdict=gate["outcome"],
        words=words,
        kept="below" if gate["operator"].startswith("<") else "above",
    )


def baselines_of(comparison: Json) -> dict[str, str]:
    """Returns what each candidate is held against, by label."""
    held = (each for each in comparison["sides"] if each["baseline"] is not None)
    return {each["label"]: each["baseline"] for each in held}


def comparison_sections(comparison: Json) -> list[Section]:
    """Draws one figure a candidate; no section without any."""
    base_of = baselines_of(comparison)
    is_exact = all(each.get("is_exact") for each in comparison["sides"])
    figures = [
        Figure(
            figure_id=f"ratios-{label}",
            title=f"{label} / {base_of[label]}",
            note=EXACT_NOTE if is_exact else "",
            figure=ratio_intervals(rows, f"in multiples of {base_of[label]}"),
        )
        for label, entries in comparison["comparisons"].items()
        if (rows := [_entry_row(each) for each in _drawn(entries)])
    ]
    crossing = (
        "how far it could be off with other conversations"
        if is_exact
        else "and one that crosses the dashed line does not tell the two apart"
    )
    section = Section(
        title="Candidate against baseline",
        term="comparison",
        how_to_read="The candidate's number in multiples of the baseline's, on a log scale; "
        f"whiskers are 95 % intervals, {crossing}. One that leaves the figure is open: too few "
        "samples to bound it. Shares, throughput and Jain's index are better to the right, "
        "latencies to the left.",
        figures=tuple(figures),
    )
    return [section] if figures else []


def _drawn(entries: Sequence[Json]) -> list[Json]:
    """Returns the entries in the order of DRAWN: all users first, then each class's shares within
    SLO."""
    known = [
        each
        for each in entries
        if each["metric"] in DRAWN
        and each["ratio"]
        and (each["user_class"] is None or each["metric"].startswith("slo"))
    ]
    return sorted(
        known, key=lambda each: (each["user_class"] is not None, DRAWN.index(each["metric"]))
    )


def _entry_row(entry: Json) -> Row:
    before, after = (value_text(entry["metric"], entry[key]) for key in ("baseline", "value"))
    text = (
        f"{before} → {after}: {units.times(entry['ratio'])} "
        f"({times_interval_text(entry['interval'])}), {entry['verdict']}"
    )
    return Row(
        name=entry_name(entry),
        ratio=entry["ratio"],
        ends=entry["interval"],
        verdict=entry["verdict"],
        words=text,
    )
