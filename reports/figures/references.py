"""How many times better along a swept setting, over the band that others published."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from reports.drawing.axes import base_layout, times_axis
from reports.drawing.palette import Look
from reports.figures.sweep import median_line, setting_axis, whiskers
from reports.pages.references import band_text
from reports.views.sweep import CitedPoint, Sweep
from reports.words import units

BAND_COLOUR = "#DDCC77"  # Tol's "muted": no engine has it


def beside_published(sweep: Sweep, points: Sequence[CitedPoint], look: Look) -> go.Figure:
    """`points` have a factor. A mark a run with 95 % whiskers, a line through the median of the
    runs (seeds) at a value; log scale, the dashed line at 1 is as good as the other."""
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
    """The legend's entry for the band, which has no trace of its own."""
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
