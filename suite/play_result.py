"""What came of playing a plan, by either of its two players."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from suite.run_directory import Counts

StoppedBy = Literal["ctrl-c", "caller", "driver"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayResult:
    """The records themselves are in turns.parquet."""

    started_at_monotonic_s: float | None  # None: it never started; 0 in virtual time
    duration_s: float  # from the start to the last turn's end
    counts: Counts
    stopped_by: StoppedBy | None  # None: the plan was played to its end
    note: str | None  # one line on why

    @property
    def is_interrupted(self) -> bool:
        return self.stopped_by is not None
