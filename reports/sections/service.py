"""Service that waiting users received, over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import base_layout
from reports.drawing.palette import CLASS_COLOURS, DASHES
from reports.sections.engine_records import EngineRecords
from reports.sections.lorenz import Lorenz, evenness_section, lorenz_curve
from reports.sections.section import Figure, Json, RunFacts, RunSection, Section
from reports.words import units
from suite.measuring.attainment import Attainment
from suite.measuring.service import (
    Backlog,
    ServiceGap,
    backlogs,
    service_gaps,
    service_rates,
    service_windows,
)
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats

NUM_GAPS = 200  # instants at which the largest gap is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """Holds the largest difference between two waiting users; both arrays [num_instants]."""

    at: Floats
    tokens: Floats  # weighted, since both have been waiting; NaN where no two wait
    widest: ServiceGap | None
    widest_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """Holds service over time for one repeat, in weighted tokens as in docs/metrics.md,
    Fairness."""

    repeat: int
    at: Floats  # [num_windows] middles
    window_s: float
    rate_by_class: Mapping[str, Floats]  # per second of waiting; NaN where nobody waited
    gaps: Gaps | None  # None where too many waits overlap


def service_views(
    turns: TurnTable, users: Attainment, classes: Sequence[str], repeat: int
) -> tuple[ServiceView | None, dict[str, Lorenz | None]]:
    """Returns the service over time of that repeat, and Lorenz curves over the users of all
    repeats: of what they got per second of waiting (`service`) and of what attained (`attainment`).
    None where nobody was served, or the server did not count its prompts."""
    rates: list[float] = []
    over_time = None
    for each in np.unique(turns.repeat):
        mine = turns.where(turns.repeat == each)
        good = (mine.num_chunks > 0) & ~mine.has_failed
        if np.isnan(mine.num_prompt_tokens[good]).any():
            continue
        stretches = backlogs(mine)
        rates += service_rates(stretches).values()
        if each == repeat:
            class_of = dict(zip(mine.user_id, mine.user_class, strict=True))
            over_time = _over_time(stretches, class_of, classes, repeat)
    curves = {
        "service": lorenz_curve(np.array(rates)) if rates else None,
        "attainment": lorenz_curve(users.ratio) if len(users.repeat) else None,
    }
    return over_time, curves


def _over_time(
    stretches: list[Backlog], class_of: Mapping[str, str], classes: Sequence[str], repeat: int
) -> ServiceView | None:
    windows = service_windows(stretches)
    if windows is None:
        return None
    start = min(each.start for each in stretches)
    edges = start + windows.window_s * np.arange(windows.service.shape[1] + 1)
    user_class = np.array([class_of[user] for user in windows.users], dtype=object)
    stretch_class = np.array([class_of[each.user] for each in stretches], dtype=object)
    began = np.array([each.start for each in stretches])
    ended = np.array([each.end for each in stretches])
    rates = {}
    for name in classes:
        served = windows.service[user_class == name].sum(axis=0)
        mine = stretch_class == name
        rates[name] = _per_second_of_waiting(served, began[mine], ended[mine], edges)
    return ServiceView(
        repeat=repeat,
        at=(edges[:-1] + edges[1:]) / 2,
        window_s=windows.window_s,
        rate_by_class=rates,
        gaps=_gaps(stretches, start, max(each.end for each in stretches)),
    )


def _per_second_of_waiting(
    served: Floats, began_at: Floats, ended_at: Floats, edges: Floats
) -> Floats:
    """Returns the rate in each window; NaN where hardly anybody waited in it."""
    waited_by = [np.maximum(0.0, np.minimum(edge, ended_at) - began_at).sum() for edge in edges]
    waited = np.diff(waited_by)
    is_known = waited > 1e-3 * (edges[1] - edges[0])
    rate: Floats = np.divide(served, waited, out=np.full(len(waited), np.nan), where=is_known)
    return rate


def _gaps(stretches: list[Backlog], start: float, end: float) -> Gaps | None:
    at = np.linspace(start, end, NUM_GAPS)
    found = service_gaps(stretches, at)
    if found is None:
        return None
    tokens = np.array([np.nan if each is None else each.tokens for each in found])
    place = int(np.argmax(np.nan_to_num(tokens, nan=-1.0)))
    return Gaps(at=at, tokens=tokens, widest=found[place], widest_at=float(at[place]))


def service_over_time(view: ServiceView) -> go.Figure:
    """Draws the weighted tokens a second that a waiting user of each class got; below, on the same
    time, how far two waiting users are apart."""
    figure = go.Figure(layout=_layout(view.gaps is not None))
    for index, (name, rate) in enumerate(view.rate_by_class.items()):
        figure.add_scatter(
            name=name,
            x=view.at,
            y=rate,
            mode="lines+markers",
            line={
                "color": CLASS_COLOURS[index % len(CLASS_COLOURS)],
                "dash": DASHES[index % len(DASHES)],
                "width": 2,
            },
            marker={"size": 4},
            customdata=_texts(rate),
            hovertemplate="%{customdata} tokens/s",
        )
    if view.gaps is not None:
        figure.add_scatter(
            name="largest gap",
            x=view.gaps.at,
            y=view.gaps.tokens,
            yaxis="y2",
            mode="lines",
            fill="tozeroy",
            line={"color": "#8A8F98", "width": 1.2, "shape": "hvh"},
            customdata=_texts(view.gaps.tokens),
            hovertemplate="%{customdata} tokens",
        )
    return figure


def _texts(values: Floats) -> list[str]:
    return [units.count(None if isnan(value) else value) for value in values.tolist()]


def _layout(has_gaps: bool) -> go.Layout:
    axes: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "seconds after the start"},
            "zeroline": False,
            "anchor": "y2" if has_gaps else "y",
        },
        "yaxis": {
            "title": {"text": "tokens/s, weighted"},
            "rangemode": "tozero",
            "zeroline": False,
            "domain": [0.42, 1.0] if has_gaps else [0.0, 1.0],
        },
    }
    if has_gaps:
        axes["yaxis2"] = {
            "title": {"text": "gap, tokens"},
            "domain": [0.0, 0.3],
            "rangemode": "tozero",
            "zeroline": False,
            "nticks": 4,
        }
    return base_layout(hovermode="x unified", height=420 if has_gaps else 340, **axes)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    over_time: ServiceView | None
    curves: Mapping[str, Lorenz | None]


def _read(records: EngineRecords) -> _View:
    classes = [each.name for each in records.plan.user_classes]
    over_time, curves = service_views(records.turns, records.users, classes, records.repeat)
    return _View(over_time=over_time, curves=curves)


def _show(facts: RunFacts, views: Mapping[str, _View]) -> list[Section]:
    over_time = Section(
        title="Service received, over time",
        term="service",
        how_to_read="Lines close together: the classes were served alike while they waited; a line "
        "at the bottom: a class that waited in vain. Below, in grey: how far two of the users who "
        "wait are apart in what they got since both have been waiting.",
        figures=tuple(
            Figure(
                figure_id=f"service-{name}",
                title=name,
                note=_note(each.over_time, facts.numbers[name]),
                figure=service_over_time(each.over_time),
            )
            for name, each in views.items()
            if each.over_time is not None
        ),
    )
    curves = {name: each.curves for name, each in views.items()}
    return [over_time, evenness_section(curves, facts.look)]


def _note(view: ServiceView, numbers: Json) -> str:
    notes = [f"Repeat {view.repeat}, windows of {units.duration(view.window_s)}."]
    if view.gaps is None:
        notes.append("Too many waits overlap to look for the largest gap.")
    elif view.gaps.widest is not None:
        gap = view.gaps.widest
        notes.append(
            f"Largest gap drawn: {units.count(gap.tokens)} weighted tokens, {gap.most} ahead of "
            f"{gap.least}, after {units.duration(view.gaps.widest_at)}."
        )
    difference = (numbers["fairness"] or {}).get("max_service_difference")
    if difference is not None:
        notes.append(f"Over any stretch of the run: {units.count(difference)} weighted tokens.")
    return " ".join(notes)


SERVICE = RunSection(read=_read, show=_show)
