"""Shows a search in wall time while it goes on: each engine's bracket as it closes, and the rate
that is played.

Where the output is no terminal there are lines instead: when a rate begins, every ten seconds, and
what it came to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from suite.playing.workload import Workload
from suite.records.progress import Progress
from suite.records.run_directory import Trial
from suite.sweep.brackets import Bracket
from suite.sweep.budget import Budget
from suite.sweep.crossing import Answer
from suite.sweep.rate_look import RateLook
from suite.sweep.run_cell import CellResult

LINE_INTERVAL_S = 10.0
REFRESHES_PER_S = 4
SAID = {Answer.HOLDS: "holds", Answer.FAILS: "does not hold", Answer.UNSURE: "can not be told yet"}


class CapacityDisplay:
    """An `Observer` of every rate's run, and a context manager for what it draws."""

    def __init__(
        self,
        title: str,
        engines: list[str],
        target_ratio: float,
        budget: Budget,
        *,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title = title
        self._target_ratio = target_ratio
        self._budget = budget
        self._console = console or Console(stderr=True)
        self._clock = clock
        self._brackets: dict[str, Bracket] = dict.fromkeys(engines, (None, None))
        self._playing: tuple[str, float] | None = None  # engine and rate
        self._look: RateLook | None = None
        self._progress: Progress | None = None
        self._next_line_at = 0.0
        self._live = Live(
            console=self._console,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
            get_renderable=self.drawn,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def on_bracket(self, engine: str, low: float | None, high: float | None) -> None:
        self._brackets[engine] = low, high

    def begin(self, workload: Workload, rate: float) -> None:
        """Hears which rate comes next; `workload` is its cell's, of one engine."""
        (engine,) = workload.engines
        self._playing, self._look, self._progress = (engine, rate), None, None
        self._next_line_at = self._clock() + LINE_INTERVAL_S
        self._line(f"{self._now()}: {len(workload.plan.conversations)} users at most")

    def on_look(self, look: RateLook) -> None:
        self._look = look

    def on_trial_start(self, engine: str, repeat: int) -> None: ...

    def on_progress(self, progress: Progress) -> None:
        self._progress = progress
        if self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + LINE_INTERVAL_S
            self._line(f"{self._now()}: {self._so_far()}")

    def on_trial_end(self, trial: Trial) -> None: ...

    def on_cell(self, result: CellResult) -> None:
        """Says what a rate has come to."""
        told = f"{result.status}, {result.note}" if result.note else result.status
        if result.status == "complete" and self._look is not None:
            told = f"{SAID[self._look.answer]}: {self._look.words()}"
        self._console.print(
            f"{escape(self._now())}: {escape(told)} ({result.duration_s:.0f} s)",
            highlight=False,
            soft_wrap=True,
        )
        self._playing = None

    def drawn(self) -> RenderableType:
        """Returns the brackets, and how far the rate is that is played."""
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("engine", f"{self._target_ratio:.0%} hold at", "do not at", "apart", "now"):
            table.add_column(name, justify="left" if name in ("engine", "now") else "right")
        for engine, (low, high) in self._brackets.items():
            now = ""
            if self._playing is not None and self._playing[0] == engine:
                now = f"{self._playing[1]:.3g}/s: {self._so_far()}"
            apart = "" if low is None or high is None else f"{high / low - 1:.0%}"
            table.add_row(engine, _rate(low), _rate(high), apart, now)
        left_s = self._budget.left_s
        left = "" if left_s is None else f", {left_s / 60:.0f} min of the budget left"
        return Group(Text(f"{self._title}: conversations a second{left}", style="bold"), table)

    def _now(self) -> str:
        assert self._playing is not None
        engine, rate = self._playing
        return f"{engine} at {rate:.3g}/s"

    def _so_far(self) -> str:
        if self._look is not None and self._look.num_users:
            return f"{self._look.counts()} so far"
        if self._progress is None:
            return "starting the engine …"
        return f"{self._progress.num_done} turns, the server is filling"

    def _line(self, text: str) -> None:
        if not self._console.is_terminal:
            self._console.print(escape(text), highlight=False, soft_wrap=True)


def _rate(value: float | None) -> str:
    return "?" if value is None else f"{value:.3g}"
