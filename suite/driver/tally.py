"""What a worker has done so far, for the live display; the records are the result, not this."""

from __future__ import annotations

import time

from suite.records.turn_records import TurnRecord


class Tally:
    def __init__(self) -> None:
        self.num_done = 0
        self.num_failed = 0
        self.num_output_tokens = 0
        self.first_error = ""
        self._ttft_s: list[float] = []
        self._began_at = time.monotonic()
        self._began_cpu_s = time.process_time()

    def add(self, record: TurnRecord) -> None:
        self.num_done += 1
        if record.error is not None and record.error_source != "stop":
            self.num_failed += 1
            self.first_error = self.first_error or record.error
        self.num_output_tokens += sum(record.tokens_per_chunk)
        if record.sent_at is not None and record.token_at:
            self._ttft_s.append(record.token_at[0] - record.sent_at)

    @property
    def cpu_ratio(self) -> float:
        """The process's share of one core since the tally began."""
        wall_s = max(time.monotonic() - self._began_at, 1e-3)
        return (time.process_time() - self._began_cpu_s) / wall_s

    def take_ttft_s(self) -> list[float]:
        """Returns the TTFTs of the turns since the last call."""
        taken, self._ttft_s = self._ttft_s, []
        return taken
