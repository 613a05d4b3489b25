"""How long answers are, from those that ended: what a pause now will have cost in the end."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque

NUM_REMEMBERED = 1000
# Before any answer has ended, each doubling is as likely as the next.
PRIOR = (16, 32, 64, 128, 256, 512, 1024)


class AnswerLengths:
    """In tokens, or gaps; the same for everybody."""

    def __init__(self) -> None:
        self._in_order = list(PRIOR)
        self._in_time: deque[int] = deque()

    def ended(self, length: int) -> None:
        insort(self._in_order, length)
        self._in_time.append(length)
        if len(self._in_time) > NUM_REMEMBERED:
            del self._in_order[bisect_left(self._in_order, self._in_time.popleft())]

    def chance_below(self, needed: int, so_far: int) -> float:
        """Returns how likely an answer that has come to `so_far` ends before `needed`."""
        if so_far >= needed:
            return 0.0
        lengths = self._in_order
        num_longer = len(lengths) - bisect_left(lengths, so_far)
        if not num_longer:
            return 1.0
        return 1.0 - (len(lengths) - bisect_left(lengths, needed)) / num_longer
