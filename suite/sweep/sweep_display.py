"""Shows a sweep while it goes on: cells done, failed, and how long the rest may take.

Quiet when the output is no terminal: then a line for each cell that has ended.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as EtaColumn

from suite.sweep.run_cell import CellResult

ETA_WINDOW_S = 3600.0  # cells take minutes


class SweepDisplay:
    """The bar of a sweep; its total grows where cells are found on the way, as in a capacity
    search."""

    def __init__(
        self,
        title: str,
        num_cells: int = 0,
        *,
        is_shown: bool = True,
        console: Console | None = None,
    ) -> None:
        """`is_shown`: False where each cell draws lines of its own."""
        self._console = console or Console(stderr=True)
        self._num_done = self._num_failed = 0
        self._num_cells = num_cells
        self._bars = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("cells  {task.fields[now]}"),
            TimeElapsedColumn(),
            EtaColumn(compact=True),
            console=self._console,
            disable=not (is_shown and self._console.is_terminal),
            speed_estimate_period=ETA_WINDOW_S,
        )
        self._task = self._bars.add_task(escape(title), total=num_cells or None, now="")

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def expect(self, num_more: int) -> None:
        self._num_cells += num_more
        self._bars.update(self._task, total=self._num_cells)

    def on_cell(self, result: CellResult) -> None:
        self._num_done += 1
        self._num_failed += result.status != "complete"
        failed = f"[red]{self._num_failed} not complete[/]" if self._num_failed else ""
        self._bars.update(self._task, completed=self._num_done, now=failed)
        line = f"{result.name}: {result.status} after {result.duration_s:.1f} s"
        if result.note:
            line += f", {result.note}"
        if result.note or not self._console.is_terminal:
            self._console.print(escape(line), highlight=False, soft_wrap=True)
