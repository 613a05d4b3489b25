"""The free blocks of a memory as maximal runs of neighbours: found by size, merged on return."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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
        self._starts: list[int] = []  # ascending
        self._size_of: dict[int, int] = {}  # num_blocks by start
        self._by_size: list[tuple[int, int]] = []  # (num_blocks, start), ascending
        for run in runs:
            self.add(run)

    def __iter__(self) -> Iterator[Run]:
        return (Run(start, self._size_of[start]) for start in self._starts)

    def add(self, run: Run) -> None:
        """Return blocks; they join the free neighbours on both sides."""
        if run.num_blocks == 0:
            return
        start, end = run.start, run.end
        i = bisect_left(self._starts, start)
        right = self._starts[i] if i < len(self._starts) else None
        left = self._starts[i - 1] if i > 0 else None
        if left is not None:
            left_end = left + self._size_of[left]
            assert left_end <= start, f"{run} is returned twice: {self.starting_at(left)} is free"
            if left_end == start:
                self._remove(left)
                start = left
        if right is not None:
            assert end <= right, f"{run} is returned twice: {self.starting_at(right)} is free"
            if end == right:
                end += self._remove(right)
        self._insert(start, end - start)

    def starting_at(self, block: int) -> Run | None:
        """The free run that begins with this block."""
        num_blocks = self._size_of.get(block)
        return None if num_blocks is None else Run(block, num_blocks)

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
        assert self._size_of.get(run.start) == run.num_blocks, f"{run} is not free"
        taken, rest = run.split(num_blocks)
        self._remove(run.start)
        if rest.num_blocks:
            self._insert(rest.start, rest.num_blocks)
        return taken

    def _insert(self, start: int, num_blocks: int) -> None:
        insort(self._starts, start)
        insort(self._by_size, (num_blocks, start))
        self._size_of[start] = num_blocks
        self.num_blocks += num_blocks

    def _remove(self, start: int) -> int:
        """How many blocks the run had."""
        num_blocks = self._size_of.pop(start)
        del self._starts[bisect_left(self._starts, start)]
        del self._by_size[bisect_left(self._by_size, (num_blocks, start))]
        self.num_blocks -= num_blocks
        return num_blocks


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
