"""Whether so many turns fail that to play on would tell nothing more."""

from __future__ import annotations

from dataclasses import dataclass

from suite.records.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRule:
    error_ratio: float  # of the turns that ended
    after: int  # so many turns have ended
    is_throughout: bool  # looked at again and again, not only then


class EarlyStop:
    def __init__(self, rule: StopRule | None) -> None:
        self._rule = rule

    def reason(self, progress: Progress, first_error: str) -> str | None:
        """One line, if the run is to end now."""
        rule, num_done = self._rule, progress.num_done
        if rule is None or num_done < rule.after:
            return None
        if not rule.is_throughout:
            self._rule = None
        if progress.num_failed < rule.error_ratio * num_done:
            return None
        return (
            f"{progress.num_failed:,} of the first {num_done:,} turns failed (stop: error_ratio "
            f"{rule.error_ratio:g} after {rule.after:,}), the first with: {first_error}"
        )
