"""How far the playing of a plan has come, as an observer is told while it goes on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    num_planned: int
    num_done: int  # recorded, the failed among them
    num_failed: int
    num_in_flight: int
    num_output_tokens: int  # of the turns that ended
    elapsed_s: float  # since instant 0
    ttft_p99_s: float | None
    planned_s: float | None = None  # after which nothing more is asked; None: all turns are

    @property
    def output_tokens_per_s(self) -> float:
        return self.num_output_tokens / self.elapsed_s if self.elapsed_s > 0 else 0.0
