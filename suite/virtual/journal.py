"""The records of virtual turns on their way to disk, and what the live display tells of them."""

from __future__ import annotations

from array import array

import numpy as np

from engines.arrow_log import ArrowLog
from suite.records.progress import Progress
from suite.records.run_directory import Counts
from suite.records.turn_counts import TurnCounter
from suite.records.turn_records import TurnRecord, turn_row
from workloads.plan import Plan


class Journal:
    def __init__(self, log: ArrowLog, plan: Plan) -> None:
        self._log = log
        self._counter = TurnCounter(plan)
        self._num_done = 0
        self._num_failed = 0
        self._num_output_tokens = 0
        self._ttft_s = array("d")
        self.ended_at = 0.0  # of the last turn so far

    def record(self, record: TurnRecord) -> None:
        self._log.append(turn_row(record))
        self._counter.add(
            record.conversation_id,
            record.turn,
            error=record.error,
            error_source=record.error_source,
        )
        self._num_done += 1
        self._num_failed += record.error is not None and record.error_source != "stop"
        self._num_output_tokens += len(record.token_at)
        if record.token_at:
            self._ttft_s.append(record.token_at[0] - record.scheduled_at)
        assert record.done_at is not None, record
        self.ended_at = max(self.ended_at, record.done_at)

    def counts(self, *, is_stopped: bool, num_not_begun: int) -> Counts:
        return self._counter.counts(is_stopped=is_stopped, num_not_begun=num_not_begun)

    def progress(
        self, *, num_planned: int, num_in_flight: int, elapsed_s: float, planned_s: float | None
    ) -> Progress:
        """Returns how far playing has come; seconds are virtual."""
        return Progress(
            num_planned=num_planned,
            num_done=self._num_done,
            num_failed=self._num_failed,
            num_in_flight=num_in_flight,
            num_output_tokens=self._num_output_tokens,
            elapsed_s=elapsed_s,
            planned_s=planned_s,
            ttft_p99_s=float(np.quantile(self._ttft_s, 0.99)) if self._ttft_s else None,
        )
