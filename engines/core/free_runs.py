"""The free blocks of a memory as maximal runs of neighbours: found by size, merged on return."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import count
from operator import sub
from typing import NamedTuple


class Run(NamedTuple):  # a tuple: made by the million, at half of a frozen dataclass's cost
    """Blocks start, start + 1, … start + num_blocks − 1."""

    start: int
    num_blocks: int

    @property
    def end(self) -> int:
        """Returns the block after the last."""
        return self.start + self.num_blocks

    def blocks(self) -> range:
        return range(self.start, self.end)

    def split(self, num_blocks: int) -> tuple[Run, Run]:
        """Returns the first `num_blocks`, and the rest."""
        assert 0 <= num_blocks <= self.num_blocks, f"{num_blocks} of {self}"
        middle = self.start + num_blocks
        return Run(self.start, num_blocks), Run(middle, self.num_blocks - num_blocks)


# Of a tuple, without a Python frame for each.
make_run = partial(tuple.__new__, Run)


class FreeRuns:
    """The free runs of one memory, no two of which touch. Taking, returning and best fit cost
    O(log n) compares for n runs."""

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
        """Takes blocks back; they join the free neighbours on both sides."""
        start, num_blocks = run
        if num_blocks == 0:
            return
        self.num_blocks += num_blocks
        starts, end = self._starts, start + num_blocks
        i = bisect_left(starts, start)
        joins_right = joins_left = False
        if i < len(starts):
            right = starts[i]
            assert end <= right, f"{run} is returned twice: {self.starting_at(right)} is free"
            joins_right = end == right
        if i > 0:
            left = starts[i - 1]
            left_end = left + self._size_of[left]
            assert left_end <= start, f"{run} is returned twice: {self.starting_at(left)} is free"
            joins_left = left_end == start
        if joins_right:
            num_blocks += self._forget(end)
            del starts[i]
        if joins_left:
            start = left
            num_blocks += self._forget(left)
        else:
            starts.insert(i, start)
        self._know(start, num_blocks)

    def starting_at(self, block: int) -> Run | None:
        """Returns the free run that begins with this block."""
        num_blocks = self._size_of.get(block)
        return None if num_blocks is None else Run(block, num_blocks)

    def best_fit(self, num_blocks: int) -> Run | None:
        """Returns the smallest run of at least so many blocks, the lowest of equals."""
        i = bisect_left(self._by_size, (num_blocks, -1))
        if i == len(self._by_size):
            return None
        size, start = self._by_size[i]
        return Run(start, size)

    @property
    def longest(self) -> int:
        """Returns how many blocks the longest run has; 0 without any."""
        return self._by_size[-1][0] if self._by_size else 0

    def largest(self) -> Run | None:
        if not self._by_size:
            return None
        size, start = self._by_size[-1]
        return Run(start, size)

    def take(self, run: Run, num_blocks: int) -> Run:
        """Takes the first `num_blocks` of a free run; the rest stays free."""
        start, size = run
        assert self._size_of.get(start) == size, f"{run} is not free"
        assert 0 <= num_blocks <= size, f"{num_blocks} of {run}"
        self._forget(start)
        i = bisect_left(self._starts, start)
        if num_blocks < size:
            self._starts[i] = start + num_blocks
            self._know(start + num_blocks, size - num_blocks)
        else:
            del self._starts[i]
        self.num_blocks -= num_blocks
        return Run(start, num_blocks)

    def take_shorter(self, num_blocks: int, *, while_above: int) -> list[Run]:
        """Takes whole runs, the longest first, as long as the longest is shorter than what is
        missing of `num_blocks`, and more than `while_above` are missing."""
        starts, size_of, by_size = self._starts, self._size_of, self._by_size
        taken: list[Run] = []
        missing = num_blocks
        while by_size and while_above < missing > by_size[-1][0]:
            size, start = by_size.pop()
            del size_of[start]
            del starts[bisect_left(starts, start)]
            missing -= size
            taken.append(make_run((start, size)))
        self.num_blocks -= num_blocks - missing
        return taken

    def _know(self, start: int, num_blocks: int) -> None:
        insort(self._by_size, (num_blocks, start))
        self._size_of[start] = num_blocks

    def _forget(self, start: int) -> int:
        """Removes the run from all but `_starts`, which is left to the caller, and returns how many
        blocks it had."""
        num_blocks = self._size_of.pop(start)
        del self._by_size[bisect_left(self._by_size, (num_blocks, start))]
        return num_blocks


def runs_of(blocks: Iterable[int]) -> list[Run]:
    """Returns block ids, given in any order, as maximal runs in ascending order."""
    ordered = sorted(blocks)
    num_blocks = len(ordered)
    if not num_blocks:
        return []
    if ordered[-1] - ordered[0] == num_blocks - 1:  # the usual case: they are all neighbours
        return [Run(ordered[0], num_blocks)]
    ends = [
        i
        for i, before, block in zip(count(1), ordered, ordered[1:], strict=False)
        if block - before != 1
    ]
    starts = [0, *ends]
    sizes = map(sub, [*ends, num_blocks], starts)
    return list(map(make_run, zip(map(ordered.__getitem__, starts), sizes, strict=True)))
