"""A training of a dispatching network as one offline file: how far it is, and its learning curves.

Read from the `curve.json` that training leaves at each checkpoint.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from reports.drawing.axes import base_layout
from reports.drawing.palette import COLOURS
from reports.pages.html_file import write_page
from reports.sections.section import Figure, Section
from suite.errors import RunDirectoryError

PHASES = {"lessons": COLOURS[0], "ppo": COLOURS[1]}
Point = dict[str, Any]


def write_training_page(folder: Path) -> Path:
    """Writes report.html beside the curve. Raises RunDirectoryError where there is none."""
    path = folder / "curve.json"
    try:
        points: list[Point] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise RunDirectoryError(f"{path}: no training has left its curve here") from None
    return write_page(
        folder / "report.html",
        "training.html.j2",
        title=folder.name,
        facts=_facts(points),
        headline=_headline(points),
        sections=[_section(points)],
    )


def _facts(points: Sequence[Point]) -> str:
    last = points[-1]
    return (
        f"{last['iteration']} iterations · {last['decisions']:,} decisions · "
        f"{last['seconds'] / 60:.0f} minutes"
    )


def _headline(points: Sequence[Point]) -> str:
    best = min(points, key=lambda each: float(each["validation_ratio"]))
    less = 100 * (1 - best["validation_ratio"])
    return (
        f"At its best, after iteration {best['iteration']}, the network's makespans are "
        f"{less:.1f} % below FIFO's with blocked jobs first, on shops it never trained on."
    )


def _section(points: Sequence[Point]) -> Section:
    figures = (
        _curve(points, "validation_ratio", "Makespan over FIFO+BF's", "on shops never trained on"),
        _curve(points, "entropy", "Indecision", "entropy of a decision, nats"),
        _curve(points, "value_error", "Error of the value", "mean durations until the end"),
        _curve(points, "cost", "Cost of a decision", "mean durations over the best choice"),
    )
    return Section(
        title="Learning curves",
        term="learning_curves",
        how_to_read="Down is better, but for indecision, which is to fall slowly. A colour is a "
        "phase; a point is a checkpoint.",
        figures=tuple(each for each in figures if each.figure.data),
    )


def _curve(points: Sequence[Point], key: str, title: str, unit: str) -> Figure:
    figure = go.Figure(layout=base_layout(showlegend=True))
    for phase, colour in PHASES.items():
        mine = [each for each in points if each["phase"] == phase and each[key] is not None]
        if mine:
            figure.add_scatter(
                x=[each["iteration"] for each in mine],
                y=[each[key] for each in mine],
                mode="lines+markers",
                name=phase,
                line={"color": colour},
            )
    figure.update_xaxes(title="iteration")
    figure.update_yaxes(title=unit)
    return Figure(figure_id=f"curve-{key}", title=title, note="", figure=figure)
