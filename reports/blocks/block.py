"""A block of the page: figures that are read in the same way, with their words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from reports.drawing.palette import Look
from reports.views.engine_view import EngineView, read_engine_view
from suite.records.run_directory import Manifest
from workloads.plan import Plan

Json = Mapping[str, Any]
LONGEST_NAME = 34  # letters, in a legend of a figure that has a third of the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    figure_id: str
    title: str
    note: str  # what was left out or thinned; empty = nothing
    figure: go.Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Figures side by side where there is room."""

    title: str
    term: str  # key of the glossary
    how_to_read: str
    figures: tuple[Figure, ...]

    @property
    def num_columns(self) -> int:
        """At most three, or two where a name of a legend would not fit in a third."""
        names = (str(trace.name or "") for each in self.figures for trace in each.figure.data)
        limit = 2 if max(map(len, names), default=0) > LONGEST_NAME else 3
        return min(len(self.figures), limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """What the figures need of a run, read once."""

    manifest: Manifest
    plan: Plan
    metrics: Json
    engines: Mapping[str, EngineView]
    look: Mapping[str, Look]

    @property
    def numbers(self) -> Mapping[str, Json]:
        """metrics.json's, engine by engine."""
        found: Mapping[str, Json] = self.metrics["engines"]
        return found


def read_data(
    run: Path, manifest: Manifest, plan: Plan, metrics: Json, look: Mapping[str, Look]
) -> RunData:
    """One engine after the other, so that the records of one at a time are in memory."""
    return RunData(
        manifest=manifest,
        plan=plan,
        metrics=metrics,
        engines={name: read_engine_view(run, manifest, plan, name) for name in manifest.engines},
        look=look,
    )
