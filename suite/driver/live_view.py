"""The run as it looks from outside while it goes on: all workers' reports put together."""

from __future__ import annotations

import time

import numpy as np

from suite.driver.link import Report
from suite.records.progress import Progress


class LiveView:
    def __init__(
        self, *, num_planned: int, num_workers: int, planned_s: float | None = None
    ) -> None:
        self._num_planned = num_planned
        self._planned_s = planned_s
        self.num_workers = num_workers
        self._latest = [Report(kind="progress") for _ in range(num_workers)]
        self._ttft_s: list[float] = []
        self.started_at: float | None = None  # absolute CLOCK_MONOTONIC seconds

    def take(self, worker: int, report: Report) -> None:
        if report.kind == "started":
            self.started_at = report.started_at
        elif report.kind != "failed":
            self._latest[worker] = report
            self._ttft_s += report.ttft_s

    @property
    def first_error(self) -> str:
        """Returns what one of the workers met first; empty while no turn has failed."""
        return next((each.first_error for each in self._latest if each.first_error), "")

    @property
    def num_not_begun(self) -> int:
        """Counts the turns that workers left out because the planned time had passed."""
        return sum(report.num_not_begun for report in self._latest)

    @property
    def ran_out_at_s(self) -> float | None:
        """Returns when the first worker had no conversation left to begin before that."""
        known = [each.ran_out_at_s for each in self._latest if each.ran_out_at_s is not None]
        return min(known, default=None)

    @property
    def max_cpu_ratio(self) -> float:
        return max(report.cpu_ratio for report in self._latest)

    def progress(self) -> Progress:
        latest = self._latest
        elapsed_s = 0.0 if self.started_at is None else time.monotonic() - self.started_at
        return Progress(
            num_planned=self._num_planned,
            num_done=sum(report.num_done for report in latest),
            num_failed=sum(report.num_failed for report in latest),
            num_in_flight=sum(report.num_in_flight for report in latest),
            num_output_tokens=sum(report.num_output_tokens for report in latest),
            elapsed_s=max(elapsed_s, 0.0),
            ttft_p99_s=_p99(self._ttft_s),
            planned_s=self._planned_s,
        )


def _p99(values: list[float]) -> float | None:
    return float(np.quantile(values, 0.99)) if values else None
