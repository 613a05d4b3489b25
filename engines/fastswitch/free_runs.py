"""The free blocks of a memory as maximal runs of neighbours: found by size, merged on return."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Run:
    """Blocks start, start + 1, … start + num_blocks − 1."""

    start: int
    num_blocks: int

    @property
    def end(self) -> int:
        """The block after the last."""
        return self.start + self.num_blocks

    def blocks(self) -> range:
        return range(self.start, self.end)

    def split(self, num_blocks: int) -> tuple[Run, Run]:
        """(the first `num_blocks`, the rest)."""
        assert 0 <= num_blocks <= self.num_blocks, f"{num_blocks} of {self}"
        head = Run(self.start, num_blocks)
        return head, Run(head.end, self.num_blocks - num_blocks)


class FreeRuns:
    """No two runs touch. Taking, returning and best fit cost O(log n) compares for n runs."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self.num_blocks = 0
        self._by_start: list[Run] = []
        self._by_size: list[tuple[int, int]] = []  # (num_blocks, start)
        for run in runs:
            self.add(run)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._by_start)

    def add(self, run: Run) -> None:
        """Return blocks; they join the free neighbours on both sides."""
        if run.num_blocks == 0:
            return
        i = bisect_left(self._by_start, run)
        start, end = run.start, run.end
        if i > 0:
            left = self._by_start[i - 1]
            assert left.end <= start, f"{run} is returned twice: {left} is free"
            if left.end == start:
                start = left.start
        if i < len(self._by_start):
            right = self._by_start[i]
            assert end <= right.start, f"{run} is returned twice: {right} is free"
            if end == right.start:
                end = right.end
        for neighbour in list(self._by_start[max(0, i - 1) : i + 1]):
            if start <= neighbour.start < end:
                self._remove(neighbour)
        self._insert(Run(start, end - start))

    def starting_at(self, block: int) -> Run | None:
        """The free run that begins with this block."""
        i = bisect_left(self._by_start, Run(block, 0))
        if i < len(self._by_start) and self._by_start[i].start == block:
            return self._by_start[i]
        return None

    def best_fit(self, num_blocks: int) -> Run | None:
        """The smallest run of at least so many blocks, the lowest of equals."""
        i = bisect_left(self._by_size, (num_blocks, -1))
        if i == len(self._by_size):
            return None
        size, start = self._by_size[i]
        return Run(start, size)

    def largest(self) -> Run | None:
        if not self._by_size:
            return None
        size, start = self._by_size[-1]
        return Run(start, size)

    def take(self, run: Run, num_blocks: int) -> Run:
        """The first `num_blocks` of a free run; the rest stays free."""
        self._remove(run)
        taken, rest = run.split(num_blocks)
        if rest.num_blocks:
            self._insert(rest)
        return taken

    def _insert(self, run: Run) -> None:
        insort(self._by_start, run)
        insort(self._by_size, (run.num_blocks, run.start))
        self.num_blocks += run.num_blocks

    def _remove(self, run: Run) -> None:
        i = bisect_left(self._by_start, run)
        assert i < len(self._by_start) and self._by_start[i] == run, f"{run} is not free"
        del self._by_start[i]
        del self._by_size[bisect_left(self._by_size, (run.num_blocks, run.start))]
        self.num_blocks -= run.num_blocks


def runs_of(blocks: Iterable[int]) -> Iterator[Run]:
    """Block ids in any order, as maximal runs in ascending order."""
    start = end = None
    for block in sorted(blocks):
        if start is not None and block == end:
            end += 1
            continue
        if start is not None and end is not None:
            yield Run(start, end - start)
        start, end = block, block + 1
    if start is not None and end is not None:
        yield Run(start, end - start)
