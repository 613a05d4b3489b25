"""Axes that several figures share: logarithmic time with readable ticks, and the axis of nines."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from math import ceil, floor, log10
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.words import units
from suite.statistics.arrays import Floats

MARGIN = {"l": 64, "r": 16, "t": 16, "b": 52}
LEGEND = {
    "orientation": "h",
    "tracegroupgap": 0,  # traces that go together make its rows no taller
    "x": 0,
    "xanchor": "left",
    "yref": "container",  # at the figure's upper edge, which takes the room it needs
    "y": 1,
    "yanchor": "top",
}
READABLE_OR_NONE = {"mode": "hide", "minsize": 9}  # for the numbers inside bars
# Steps within a decade, the finest first.
_STEPS = (
    (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0),
    (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0),
    (1.0, 2.0, 5.0),
    (1.0, 3.0),
    (1.0,),
)
_NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def base_layout(**changes: Any) -> go.Layout:
    """Returns the layout that all figures share; the page paints the theme's own colours over
    it."""
    return go.Layout(
        **{
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "margin": MARGIN,
            "height": 340,
            "legend": LEGEND,
            "hoverlabel": {"namelength": -1},
            **changes,
        }
    )


def folded(name: str, width: int) -> str:
    """Returns a long name in lines of at most that many letters, for a tick: Plotly would turn it
    aslant."""
    return "<br>".join(textwrap.wrap(name.replace("_", "_ "), width)).replace("_ ", "_")


def time_axis(low: float, high: float, title: str, *, num_ticks: int = 7) -> dict[str, Any]:
    """Returns a log axis from low to high seconds, labelled in the units readers use."""
    return _log_axis(max(low, 1e-7), max(high, low, 1e-6), title, units.duration, num_ticks)


def times_axis(low: float, high: float, title: str, *, num_ticks: int = 9) -> dict[str, Any]:
    """Returns a log axis of multiples, on which half and double are equally far from 1. It always
    holds 1, and neither end is nearer to 1 than 25 %."""
    return _log_axis(min(low, 0.8), max(high, 1.25), title, units.times, num_ticks)


def count_axis(low: float, high: float, title: str) -> dict[str, Any]:
    """Returns a log axis of plain numbers above 0."""
    return _log_axis(low, high, title, units.count, 7)


def _log_axis(
    low: float, high: float, title: str, show: Callable[[float], str], num_ticks: int
) -> dict[str, Any]:
    pad = 0.04 * max(0.3, log10(high / low))
    first, last = log10(low) - pad, log10(high) + pad
    ticks = log_ticks(10**first, 10**last, num_ticks)
    return {
        "type": "log",
        "title": {"text": title},
        "tickvals": ticks,
        "ticktext": [show(tick) for tick in ticks],
        "tickangle": 0,
        "range": [first, last],
        "zeroline": False,
    }


def log_ticks(low: float, high: float, limit: int) -> list[float]:
    """Returns round values from low to high, at least two and, if decades allow it, at most
    `limit`; evenly spaced ones where no two steps of a decade lie between."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks: list[float] = []
    for steps in _STEPS:
        ticks = [
            round(step * 10.0**decade, 9 - decade)
            for decade in decades
            for step in steps
            if low <= step * 10.0**decade <= high
        ]
        if len(ticks) <= limit:
            break
    return ticks if len(ticks) > 1 else even_ticks(low, high)


def even_ticks(low: float, high: float) -> list[float]:
    """Returns two to six multiples of 1, 2 or 5 of some decade."""
    decade = 10.0 ** floor(log10((high - low) / 2))
    step = max(step * decade for step in (1, 2, 5) if step * decade <= (high - low) / 2)
    return [step * place for place in range(ceil(low / step), floor(high / step) + 1)]


def nines(ratio: Floats) -> Floats:
    """Returns −log10(1 − ratio): 90 % lies at 1, 99 % at 2, 99.9 % at 3. The largest sample (ratio
    1) has no finite place; callers pass ranks that stay below 1."""
    return -np.log10(1.0 - ratio)


def nines_axis(highest_ratio: float, title: str) -> dict[str, Any]:
    """Returns an axis on which each further nine of a percentile takes the same room."""
    highest = float(nines(np.array([min(highest_ratio, 1 - 1e-7)]))[0])
    ticks = [ratio for ratio in _NINES if nines(np.array([ratio]))[0] <= highest + 0.05]
    return {
        "title": {"text": title},
        "tickvals": [float(nines(np.array([ratio]))[0]) for ratio in ticks],
        "ticktext": [f"{100 * ratio:g} %" for ratio in ticks],
        "range": [0, highest * 1.03],
        "zeroline": False,
    }
