"""How many times better along a swept setting, over the band that others published."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import plotly.graph_objects as go

from reports import units
from reports.axes import base_layout
from reports.references import band_text
from reports.views.sweep import CitedPoint, Sweep

BAND_COLOUR = "#DDCC77"  # Tol's "muted": no engine has it
FACTORS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def beside_published(sweep: Sweep, points: Sequence[CitedPoint], colour: str) -> go.Figure:
    """`points` have a factor. A mark a run with 95 % whiskers, a line through the median of the
    runs (seeds) at a value; log scale, the dashed line at 1 is as good as the other."""
    factors = [each.entry["times_better"] for each in points]
    ends = [each.entry["interval"] or (None, None) for each in points]
    published = points[0].entry["published"]
    low, high = published[0] or 1.0, published[1] or max(factors)
    figure = go.Figure(layout=base_layout(height=320))
    figure.add_hrect(y0=low, y1=high, fillcolor=BAND_COLOUR, opacity=0.35, line_width=0)
    figure.add_hline(y=1, line={"color": "#888", "dash": "dash", "width": 1})
    figure.add_scatter(
        name="here",
        x=[each.place for each in points],
        y=factors,
        mode="markers",
        marker={"size": 8, "color": colour},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [0 if e[1] is None else e[1] - f for e, f in zip(ends, factors, strict=True)],
            "arrayminus": [
                0 if e[0] is None else f - e[0] for e, f in zip(ends, factors, strict=True)
            ],
            "thickness": 1.2,
            "width": 4,
        },
        text=[_words(each) for each in points],
        hovertemplate="%{text}<extra></extra>",
    )
    medians: dict[float, list[float]] = {each.place: [] for each in points}
    for each, factor in zip(points, factors, strict=True):
        medians[each.place].append(factor)
    figure.add_scatter(
        x=list(medians),
        y=[median(each) for each in medians.values()],
        mode="lines",
        showlegend=False,
        hoverinfo="skip",
        line={"color": colour, "width": 2},
    )
    # An entry of the legend for the band, which has no trace of its own.
    figure.add_scatter(
        name=f"published, {band_text(published)}",
        x=[None],
        y=[None],
        mode="markers",
        marker={"symbol": "square", "size": 12, "color": BAND_COLOUR, "opacity": 0.6},
    )
    figure.update_xaxes(
        title={"text": sweep.setting},
        tickvals=[place for place, _ in sweep.ticks],
        ticktext=[label for _, label in sweep.ticks],
        zeroline=False,
    )
    figure.update_yaxes(
        type="log",
        title={"text": "times better"},
        tickvals=list(FACTORS),
        ticktext=[units.times(each) for each in FACTORS],
        zeroline=False,
    )
    return figure


def _words(point: CitedPoint) -> str:
    entry = point.entry
    found = f"{point.label}: {units.times(entry['times_better'])}"
    return f"{found} (95 %: {units.interval(entry['interval'], units.times)})"
