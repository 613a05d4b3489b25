"""The time that a search may take, from now on."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Runs from when it is made; without a limit it is never used up."""

    def __init__(self, limit_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._began_at = clock()

    @property
    def left_s(self) -> float | None:
        """Returns the seconds that are left, at least 0; None without a limit."""
        if self.limit_s is None:
            return None
        return max(0.0, self._began_at + self.limit_s - self._clock())

    @property
    def is_used_up(self) -> bool:
        return self.left_s == 0.0
