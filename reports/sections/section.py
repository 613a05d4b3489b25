"""A section of a page: figures that are read in the same way, with their words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import plotly.graph_objects as go

from reports.drawing.palette import Look
from reports.sections.engine_records import EngineRecords
from suite.records.run_directory import Manifest
from workloads.plan import Plan

Json = Mapping[str, Any]
View = TypeVar("View")
LONGEST_NAME = 34  # letters, in a legend of a figure that has a third of the page


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """Holds a figure with its title and what is to be known of it."""

    figure_id: str
    title: str
    note: str  # what was left out or thinned; empty = nothing
    figure: go.Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Holds figures, which stand side by side where there is room. A section without any is left
    out of its page."""

    title: str
    term: str  # key of the glossary
    how_to_read: str
    figures: tuple[Figure, ...]

    @property
    def num_columns(self) -> int:
        """Returns at most three, or two where a name of a legend would not fit in a third."""
        names = (str(trace.name or "") for each in self.figures for trace in each.figure.data)
        limit = 2 if max(map(len, names), default=0) > LONGEST_NAME else 3
        return min(len(self.figures), limit)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Holds what every section may know of the run besides the records."""

    manifest: Manifest
    plan: Plan
    metrics: Json
    look: Mapping[str, Look]

    @property
    def numbers(self) -> Mapping[str, Json]:
        """Returns the engines' parts of metrics.json."""
        found: Mapping[str, Json] = self.metrics["engines"]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSection(Generic[View]):
    """Says how a section of a run's page is made: what it keeps of each engine's records, and how
    it shows that."""

    read: Callable[[EngineRecords], View | None]  # None: this engine has nothing to show here
    show: Callable[[RunFacts, Mapping[str, View]], list[Section]]  # engine ▸ what was read


def from_metrics(show: Callable[[RunFacts], Section]) -> RunSection[Any]:
    """Returns a section that needs no records: metrics.json has all its numbers."""
    return RunSection(read=lambda _: None, show=lambda facts, _: [show(facts)])
