"""Axes that several figures share: logarithmic time with readable ticks, and the axis of nines."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports import units
from reports.thinning import Floats

MARGIN = {"l": 64, "r": 16, "t": 16, "b": 52}
LEGEND = {
    "orientation": "h",
    "x": 0,
    "xanchor": "left",
    "yref": "container",  # at the figure's upper edge, which takes the room it needs
    "y": 1,
    "yanchor": "top",
}
_FINE, _MIDDLE, _COARSE = (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,)
_NINES = (0.0, 0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999)


def base_layout(**changes: Any) -> go.Layout:
    """Neutral: the page paints the theme's own colours over it."""
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


def time_axis(low: float, high: float, title: str, *, num_ticks: int = 7) -> dict[str, Any]:
    """A log axis from low to high seconds, labelled in the units readers use."""
    low, high = max(low, 1e-7), max(high, low, 1e-6)
    span = float(np.log10(high / low))
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    fitting = [each for each in (_FINE, _MIDDLE) if span * len(each) <= num_ticks]
    steps = fitting[0] if fitting else _COARSE
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    pad = 0.04 * max(0.3, span)
    return {
        "type": "log",
        "title": {"text": title},
        "tickvals": ticks,
        "ticktext": [units.duration(tick) for tick in ticks],
        "tickangle": 0,
        "range": [float(np.log10(low)) - pad, float(np.log10(high)) + pad],
        "zeroline": False,
    }


def nines(ratio: Floats) -> Floats:
    """−log10(1 − ratio): 90 % lies at 1, 99 % at 2, 99.9 % at 3. The largest sample (ratio 1)
    has no finite place; callers pass ranks that stay below 1."""
    return -np.log10(1.0 - ratio)


def nines_axis(highest_ratio: float, title: str) -> dict[str, Any]:
    """An axis on which each further nine of a percentile takes the same room."""
    highest = float(nines(np.array([min(highest_ratio, 1 - 1e-7)]))[0])
    ticks = [ratio for ratio in _NINES if nines(np.array([ratio]))[0] <= highest + 0.05]
    return {
        "title": {"text": title},
        "tickvals": [float(nines(np.array([ratio]))[0]) for ratio in ticks],
        "ticktext": [f"{100 * ratio:g} %" for ratio in ticks],
        "range": [0, highest * 1.03],
        "zeroline": False,
    }
