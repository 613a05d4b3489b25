"""A metric as one row: what it is, how sure one can be of it, how it reads, and where it is shown.

Gates, comparisons, baselines, sweeps, tables, cards, glossary and docs/metrics.md read the rows, so
a new metric is a row and the function in `suite.measuring` that computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from suite.measuring.attainment import Attainment
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats
from suite.statistics.quantiles import PERCENTILES

Kind = Literal[
    "time",  # seconds; a bound needs a unit
    "share",  # 0 to 1, shown in per cent
    "index",  # 0 to 1, shown as it is
    "multiple",  # of something else: shown as 1.7×
    "amount",  # any other number, shown as it is
    "count",  # whole
    "rate",
]
Better = Literal["lower", "higher", "neither"]  # neither: shown, but not gated or compared
Source = Literal[
    "turns", "users", "service", "solo run", "backlog", "engine's logs", "number of turns"
]
IntervalRule = Literal[  # of docs/statistics.md
    "order statistics of conversations",
    "order statistics of users",
    "bootstrap-t over conversations",
    "bootstrap-t over users",
    "mid-P over users",
]
Pooling = Literal["mean", "sum", "extreme"]
Scope = Literal["class", "turn"]  # beside the whole engine and each of its repeats
Place = Literal[
    "terminal",
    "side by side",
    "class table",
    "cards",
    "sweep",  # a column of sweep.parquet
    "sweep table",  # in the terminal, cell by cell
    "sweep page",  # along its setting
    "compared",
    "compared by class",
    "drawn ratios",  # the figure of a comparison
    "headline",  # worth a line in a comparison even where nothing can be told apart
]
# Each user's weight in a number over users: (users, headroom of each) ▸ one value a row of users.
Influences = Callable[[Attainment, Floats], Floats]
# What each turn adds to a share's whole and to its part: [num_turns] each, NaN where it adds none.
Totals = Callable[[TurnTable], tuple[Floats, Floats]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric. Its name in a gate is `group.key`; `path` leads to it in an engine's numbers."""

    group: str  # of metrics.json; for a latency without its _s
    key: str
    label: str  # the title of a line or column: TTFT P99
    prose: str = ""  # how a sentence calls it: P99 TTFT; empty: as the label
    definition: str  # one sentence; docs/metrics.md has the formula
    remark: str = ""  # what else a reader of the page should know
    term: str = ""  # by which the page's glossary knows it; empty: not listed there
    title: str = ""  # its name in the glossary; empty: the label
    kind: Kind
    unit: str = ""  # s, tokens/s, bytes/s …; empty for shares, indices and plain counts
    better: Better
    computed_from: Source
    is_timed: bool = True  # a driver out of its bounds falsifies it
    is_monotone: bool = True  # answers that come later can only make it worse
    is_of_gaps: bool = False  # chunks that were joined on their way falsify it
    is_of_spans: bool = False  # … where they were joined to an answer's first
    is_true_of_a_warm_cache: bool = False  # whatever the server found of other trials' prompts
    interval: IntervalRule | None = None
    influences: Influences | None = None  # pairs two engines by user
    totals: Totals | None = None  # pairs two engines by conversation
    is_latency: bool = False  # a statistic of samples, paired by conversation
    pooled_by: Pooling = "mean"  # how an engine's number comes from those of its repeats
    scopes: tuple[Scope, ...] = ()
    shown_in: tuple[Place, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.group}.{self.key}" if self.group else self.key

    @property
    def label_in_prose(self) -> str:
        return self.prose or self.label

    @property
    def path(self) -> tuple[str, ...]:
        if self.is_latency:
            return f"{self.group}_s", self.key
        return tuple(self.name.split("."))

    @property
    def pairs_by(self) -> Literal["conversation", "user"] | None:
        """What two engines that played the same plan have in common in this number."""
        if self.influences is not None:
            return "user"
        has_samples = self.is_latency and self.interval is not None
        return "conversation" if has_samples or self.totals is not None else None

    @property
    def is_percentile(self) -> bool:
        return self.is_latency and self.key in PERCENTILES

    @property
    def unit_of_bounds(self) -> Literal["s", ""]:
        """What a gate's bound is written in; every other bound is a plain number."""
        return "s" if self.kind == "time" else ""

    @property
    def is_gated(self) -> bool:
        return self.better != "neither"

    @property
    def is_never_above_1(self) -> bool:
        return self.kind in ("share", "index")

    @property
    def is_count_of_turns(self) -> bool:
        """Whether it counts turns that were answered or not: no measure of a machine's speed."""
        return self.computed_from == "number of turns"
