"""Shows a run while it goes on: a bar for each trial, with what matters.

A trial is one engine's one repeat. Where the output is no terminal, there are lines instead of
bars: when a trial begins, every ten seconds, and when it has ended.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.progress import TimeRemainingColumn as EtaColumn

from suite.playing.workload import Workload
from suite.plurals import several
from suite.records.progress import Progress
from suite.records.run_directory import Counts, Trial
from workloads.units import duration_text

LINE_INTERVAL_S = 10.0  # between the lines of a trial where there is no terminal


class RunDisplay:
    """An `Observer` of a run, and a context manager for what it draws."""

    def __init__(
        self,
        workload: Workload,
        console: Console | None = None,
        *,
        what: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`what` is said after the name: what this run of the workload is for."""
        self._console = console or Console(stderr=True)
        self._workload = workload
        self._what = what
        self._clock = clock
        self._next_line_at = 0.0
        self._title = ""
        self._task: TaskID | None = None
        self._bars = Bars(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("[progress.download]{task.fields[done]}[/]  {task.fields[now]}"),
            EtaColumn(compact=True),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        plan, spec = self._workload.plan, self._workload.spec
        engines = several(len(self._workload.engines), "engine")
        self._say(
            f"[bold]{spec.name}[/]{self._what}: {several(len(plan.conversations), 'conversation')}"
            f", {several(plan.num_turns, 'turn')}, plan {plan.digest[:12]}; {engines}"
            + (f" × {spec.repeats} repeats" if spec.repeats > 1 else "")
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

    def on_trial_start(self, engine: str, repeat: int) -> None:
        self._title = self._title_of(engine, repeat)
        total = self._workload.plan.num_turns
        planned_s = self._workload.plan.closed_duration_s
        self._task = self._bars.add_task(
            self._title,
            total=total if planned_s is None else planned_s,
            done="",
            now="starting the engine …",
        )
        self._next_line_at = self._clock() + LINE_INTERVAL_S
        if not self._console.is_terminal:
            most = "" if planned_s is None else f" at most, for {duration_text(planned_s)}"
            self._say(f"{self._title}: {several(total, 'turn')}{most}")

    def on_progress(self, progress: Progress) -> None:
        assert self._task is not None
        now, done = _told(progress), _done(progress)
        self._bars.update(self._task, completed=_how_far(progress), done=done, now=now)
        if not self._console.is_terminal and self._clock() >= self._next_line_at:
            self._next_line_at = self._clock() + LINE_INTERVAL_S
            self._say(f"{self._title}: {done}, {now.replace('  ', ', ')}")

    def on_trial_end(self, trial: Trial) -> None:
        assert self._task is not None
        counts = trial.counts
        is_virtual = self._workload.engines[trial.engine].is_virtual
        took = f"{trial.duration_s:.1f} {'virtual s' if is_virtual else 's'}"
        now = took if trial.status == "complete" else f"[red]{trial.status}[/]"
        if self._workload.plan.closed_duration_s is None:
            self._bars.update(self._task, completed=counts.recorded)
        done = _recorded(counts)
        self._bars.update(self._task, done=done, now=now)
        self._bars.stop_task(self._task)
        if not self._console.is_terminal:
            self._say(
                f"{self._title}: {trial.status} after {took}, {done} recorded, "
                f"{counts.failed} failed"
            )
        if trial.note:
            colour = "default" if trial.status == "complete" else "red"
            self._say(f"[{colour}]{self._title}: {escape(trial.note)}[/]")

    def _title_of(self, engine: str, repeat: int) -> str:
        return f"{engine} #{repeat}" if self._workload.spec.repeats > 1 else engine

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, soft_wrap=True)


def _how_far(progress: Progress) -> float:
    """Returns how far a trial has come, in turns, or in seconds where it ends by time."""
    if progress.planned_s is None:
        return progress.num_done
    return min(progress.elapsed_s, progress.planned_s)


def _done(progress: Progress) -> str:
    if progress.planned_s is None:
        return f"{progress.num_done} of {several(progress.num_planned, 'turn')}"
    seconds = f"{progress.elapsed_s:.0f} of {progress.planned_s:.0f} s"
    return f"{seconds}, {several(progress.num_done, 'turn')}"


def _recorded(counts: Counts) -> str:
    """Returns `45 of 60 turns`; of those that were begun, where a trial ended by time."""
    return f"{counts.recorded} of {several(counts.planned - counts.not_begun, 'turn')}"


def _told(progress: Progress) -> str:
    """Returns what is worth knowing while a trial goes on, two spaces between its items."""
    now = f"{progress.num_in_flight} in flight  {progress.output_tokens_per_s:.0f} tokens/s"
    if progress.ttft_p99_s is not None:
        now += f"  P99 TTFT {progress.ttft_p99_s * 1000:.0f} ms"
    if progress.num_failed:
        now += f"  [red]{progress.num_failed} failed[/]"
    return now
