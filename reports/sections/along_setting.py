"""Numbers along the setting that a sweep varies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, count_axis, time_axis
from reports.drawing.palette import Look
from reports.sections.section import Figure, Section
from reports.sections.sweep_points import Sweep, SweepPoint
from reports.words import units

Json = Mapping[str, Any]
Read = Callable[[Json], tuple[float | None, units.Ends | None]]  # (value, its interval)
MAX_TICKS = 9  # values, beyond which they could not all be named below an axis
_SHOW: dict[str, Callable[[float | None], str]] = {
    "share": units.percent,
    "duration": units.duration,
    "count": units.count,
}


def along_setting(
    sweep: Sweep, look: Mapping[str, Look], title: str, read: Read, kind: str, *, panel: str
) -> go.Figure:
    """One panel, on an axis that holds all of them. A mark a run with 95 % whiskers, hollow where
    it was overloaded, a line an engine through the median of the runs (seeds) at one value; `kind`:
    share, duration or count."""
    figure = go.Figure(layout=base_layout(height=320))
    values = (read(point.numbers)[0] for point in sweep.points)
    seen = [value for value in values if value is not None]
    for engine in sweep.engines:
        known = [
            (point, value, ends)
            for point in sweep.panel(panel).of(engine)
            for value, ends in [read(point.numbers)]
            if value is not None
        ]
        figure.add_trace(_marks(engine, known, look, kind))
        medians = median_line([(point.at.place, value) for point, value, _ in known], look[engine])
        figure.add_trace(medians.update(legendgroup=engine))
    figure.update_xaxes(setting_axis(sweep))
    figure.update_yaxes(_value_axis(title, seen, kind))
    return figure


def _marks(
    engine: str,
    known: Sequence[tuple[SweepPoint, float, units.Ends | None]],
    look: Mapping[str, Look],
    kind: str,
) -> go.Scatter:
    show = _SHOW[kind]
    return go.Scatter(
        name=engine,
        x=[point.at.place for point, _, _ in known],
        y=[value for _, value, _ in known],
        mode="markers",
        legendgroup=engine,
        marker={
            "symbol": [symbol_of(point, look) for point, _, _ in known],
            "size": 8,
            "color": look[engine].colour,
        },
        error_y=whiskers([(value, ends) for _, value, ends in known]),
        customdata=[
            [label_of(point), show(value), units.interval(ends, show)]
            for point, value, ends in known
        ],
        hovertemplate="%{customdata[0]}: %{customdata[1]} (95 %: %{customdata[2]})",
    )


def median_line(points: Sequence[tuple[float, float]], look: Look) -> go.Scatter:
    """Through the median of the values (of several seeds) at each place."""
    at: dict[float, list[float]] = {}
    for place, value in sorted(points):
        at.setdefault(place, []).append(value)
    return go.Scatter(
        x=list(at),
        y=[median(values) for values in at.values()],
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
        line={"color": look.colour, "dash": look.dash, "width": 2},
    )


def _value_axis(title: str, seen: Sequence[float], kind: str) -> dict[str, Any]:
    if kind == "duration":
        return time_axis(min(seen, default=0.01), max(seen, default=1.0), title)
    axis: dict[str, Any] = {"title": {"text": title}, "zeroline": False, "rangemode": "tozero"}
    if kind == "share":
        axis |= {"range": [0, 1.03], "tickformat": ".0%", "dtick": 0.25}
    elif not any(seen):
        axis |= {"range": [0, 1], "dtick": 1}  # not tenths of a preemption
    else:
        axis |= {"range": [0, 1.08 * max(seen)]}
    return axis


def symbol_of(point: SweepPoint, look: Mapping[str, Look]) -> str:
    return look[point.engine].symbol + ("-open" if point.is_overloaded else "")


def label_of(point: SweepPoint) -> str:
    words = [point.at.label, point.at.panel, "overloaded" if point.is_overloaded else ""]
    return ", ".join(filter(None, words))


def whiskers(values: Sequence[tuple[float, units.Ends | None]]) -> dict[str, Any]:
    """An open end has no whisker here; its tooltip says so."""
    ends = [pair or (None, None) for _, pair in values]
    known = [value for value, _ in values]
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if e[1] is None else e[1] - v for e, v in zip(ends, known, strict=True)],
        "arrayminus": [0 if e[0] is None else v - e[0] for e, v in zip(ends, known, strict=True)],
        "thickness": 1.2,
        "width": 4,
    }


def setting_axis(sweep: Sweep) -> dict[str, Any]:
    places = [place for place, _ in sweep.ticks]
    if len(places) > MAX_TICKS and places[0] > 0:
        return count_axis(places[0], places[-1], f"{sweep.title}, log scale")
    return {
        "title": {"text": sweep.title},
        "tickvals": [place for place, _ in sweep.ticks],
        "ticktext": [label for _, label in sweep.ticks],
        "zeroline": False,
    }


def number_of(group: str, key: str) -> Read:
    """From an engine's part of metrics.json; None where the group was not measured."""

    def read(numbers: Json) -> tuple[float | None, units.Ends | None]:
        found = numbers[group] or {}
        return found.get(key), (found.get("interval") or {}).get(key)

    return read


USERS = number_of("slo", "users_within_slo_ratio")
TOKENS = number_of("throughput", "output_tokens_per_s")
# (id, title, axis, how it is read, kind)
NUMBERS: tuple[tuple[str, str, Read, str], ...] = (
    ("attainment", "Turns within SLO", number_of("slo", "turn_attainment_ratio"), "share"),
    ("ttft", "P99 TTFT", number_of("ttft_s", "p99"), "duration"),
    ("tbt", "P99 TBT", number_of("tbt_s", "p99"), "duration"),
    ("tokens", "Output tokens/s", TOKENS, "count"),
    ("goodput", "Turns within SLO/s", number_of("throughput", "goodput_turns_per_s"), "count"),
    ("preemptions", "Preemptions", number_of("context_switch", "num_preemptions"), "count"),
)


def users_section(sweep: Sweep, look: Mapping[str, Look]) -> Section:
    """Users within SLO, a figure a panel."""
    return Section(
        title=f"Users within SLO against {sweep.setting}",
        term="users_within_slo",
        how_to_read="The longer a line stays up, the more load the engine carries before it "
        "breaks its promises; whiskers are 95 % intervals, hollow marks were overloaded.",
        figures=_panels(sweep, look, ("users", "Users within SLO", USERS, "share")),
    )


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


def number_sections(sweep: Sweep, look: Mapping[str, Look]) -> list[Section]:
    """All numbers in one block; with panels, one block a number."""
    how = (
        f"Every figure has {sweep.setting} across; where a time bends upwards or a share falls, "
        "the engine has reached its limit. Times are on a log scale."
    )
    drawn = {
        title: _panels(sweep, look, (name, title, read, kind))
        for name, title, read, kind in NUMBERS
        if any(read(point.numbers)[0] is not None for point in sweep.points)
    }
    sections = {f"{title} against {sweep.setting}": figures for title, figures in drawn.items()}
    if not sweep.others:
        sections = {"The same, number by number": tuple(f for each in drawn.values() for f in each)}
    return [
        Section(title=title, term="interval", how_to_read=how, figures=figures)
        for title, figures in sections.items()
    ]
