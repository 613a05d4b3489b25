"""The run as one watches it: a bar for each part, with what matters while it goes on.

Quiet when the output is no terminal: then one line when a part begins and one when it has ended.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as EtaColumn

from suite.playing.workload import Workload
from suite.plurals import several
from suite.records.progress import Progress as DriverProgress
from suite.records.run_directory import Part


class LiveProgress:
    """An `Observer` of a run, and a context manager for the lines it draws."""

    def __init__(
        self, workload: Workload, console: Console | None = None, *, what: str = ""
    ) -> None:
        """`what` is said after the name: what this run of the workload is for."""
        self._console = console or Console(stderr=True)
        self._workload = workload
        self._what = what
        self._task: TaskID | None = None
        self._bars = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("turns  {task.fields[now]}"),
            EtaColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        plan, spec = self._workload.plan, self._workload.spec
        engines = several(len(self._workload.engines), "engine")
        self._console.print(
            f"[bold]{spec.name}[/]{self._what}: {several(len(plan.conversations), 'conversation')}"
            f", {several(plan.num_turns, 'turn')}, plan {plan.digest[:12]}; {engines}"
            + (f" × {spec.repeats} repeats" if spec.repeats > 1 else ""),
            highlight=False,
            soft_wrap=True,
        )
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def on_part_start(self, engine: str, repeat: int) -> None:
        title = self._title(engine, repeat)
        total = self._workload.plan.num_turns
        self._task = self._bars.add_task(title, total=total, now="starting the engine …")
        if not self._console.is_terminal:
            self._console.print(f"{title}: {several(total, 'turn')}", highlight=False)

    def on_progress(self, progress: DriverProgress) -> None:
        assert self._task is not None
        now = f"{progress.output_tokens_per_s:.0f} tokens/s"
        if progress.ttft_p99_s is not None:
            now += f"  P99 TTFT {progress.ttft_p99_s * 1000:.0f} ms"
        if progress.num_failed:
            now += f"  [red]{progress.num_failed} failed[/]"
        self._bars.update(self._task, completed=progress.num_done, now=now)

    def on_part_end(self, part: Part) -> None:
        assert self._task is not None
        counts = part.counts
        title = self._title(part.engine, part.repeat)
        took = f"{part.duration_s:.1f} {self._second(part)}"
        now = took if part.status == "complete" else f"[red]{part.status}[/]"
        self._bars.update(self._task, completed=counts.recorded, now=now)
        self._bars.stop_task(self._task)
        if not self._console.is_terminal:
            self._console.print(
                f"{title}: {part.status} after {took}, {counts.recorded} of {counts.planned} "
                f"turns recorded, {counts.failed} failed",
                highlight=False,
                soft_wrap=True,
            )
        if part.note:
            self._console.print(
                f"[red]{title}: {escape(part.note)}[/]", highlight=False, soft_wrap=True
            )

    def _second(self, part: Part) -> str:
        return "virtual s" if self._workload.engines[part.engine].is_virtual else "s"

    def _title(self, engine: str, repeat: int) -> str:
        return f"{engine} #{repeat}" if self._workload.spec.repeats > 1 else engine
