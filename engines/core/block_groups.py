"""The dynamic block group manager: contiguous groups over the same blocks and block tables.

FastSwitch [R]: the KV of a request lies in a few large groups of neighbouring blocks instead of
scattered ones, so that a swap is a few large copies. [M] A request first gets a group of about
1,000 tokens, less when memory is short; it grows into the unused tail of its group; when no free
group fits, the unused tail of another request's group is split off; freed neighbours merge.

    group of a      ......|group of b          |......
    [ in use | tail ]     [ in use | tail      ]        tails are reserved, but count as free

Near-zero waste is kept because a tail is a wish and not a right: whatever the paged allocator
could hand out, this one can. Only the order in which blocks come differs.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engines.core.block_pool import GroupCounts, check_each_once
from engines.core.free_runs import FreeRuns, Run, runs_of


@dataclass(slots=True)
class Group:
    """An owner's place in the memory: how far its sequence has come, and the tail kept for it."""

    tail: Run  # reserved and unused; its start is the block after the last one in use
    num_used: int  # blocks handed out to the owner so far


VictimRule = Callable[[dict[str, Group], int, random.Random], str | None]


def random_victim(groups: dict[str, Group], num_blocks: int, rng: random.Random) -> str | None:
    """Returns any owner whose tail has at least so many blocks; [M] the paper's rule."""
    owners = [owner for owner, group in groups.items() if group.tail.num_blocks >= num_blocks]
    return rng.choice(owners) if owners else None


def least_progress_victim(
    groups: dict[str, Group], num_blocks: int, rng: random.Random
) -> str | None:
    """Returns the owner that has used the fewest blocks: it is the furthest from needing its tail's
    end."""
    owners = [owner for owner, group in groups.items() if group.tail.num_blocks >= num_blocks]
    return min(owners, key=lambda owner: groups[owner].num_used, default=None)


VICTIM_RULES: dict[str, VictimRule] = {
    "random": random_victim,
    "least_progress": least_progress_victim,
}


class BlockGroupAllocator:
    """Hands out blocks in contiguous groups; a new one gets `group_blocks` while there is
    plenty."""

    def __init__(
        self,
        num_blocks: int,
        *,
        group_blocks: int,
        victim_rule: VictimRule = random_victim,
        rng: random.Random | None = None,
        free_runs: FreeRuns | None = None,
    ) -> None:
        self.num_blocks = num_blocks
        self.counts = GroupCounts()
        self._group_blocks = group_blocks
        self._victim_rule = victim_rule
        self._rng = rng or random.Random(0)
        self._free = FreeRuns() if free_runs is None else free_runs
        self._free.add(Run(0, num_blocks))
        self._groups: dict[str, Group] = {}
        # Of those, with a tail that is not empty: among the contexts kept in a full host pool,
        # which may be thousands, hardly any.
        self._tailed: dict[str, Group] = {}
        self._num_reserved = 0

    @property
    def num_free(self) -> int:
        return self._free.num_blocks + self._num_reserved

    def allocate(self, owner: str, num_blocks: int) -> list[int]:
        """Returns blocks that continue the owner's sequence, from its own tail as far as it
        reaches."""
        assert num_blocks <= self._free.num_blocks + self._num_reserved, (
            f"{owner}: {num_blocks} of {self.num_free} free"
        )
        taken: list[int] = []
        while (missing := num_blocks - len(taken)) > 0:
            group = self._groups.get(owner)
            if group is None or group.tail.num_blocks == 0:
                if pieces := self._take_pieces(owner, group, missing):
                    taken += pieces
                    continue
                group = self._reserve(owner, group, missing)
            head, tail = group.tail.split(min(missing, group.tail.num_blocks))
            self._set_tail(owner, group, tail)
            group.num_used += head.num_blocks
            self._num_reserved -= head.num_blocks
            taken += head.blocks()
        return taken

    def free(self, blocks: Iterable[int]) -> None:
        for run in runs_of(blocks):
            self._free.add(run)

    def release(self, owner: str) -> None:
        """Frees for all what was reserved for the owner, which grows no more."""
        group = self._groups.pop(owner, None)
        self._tailed.pop(owner, None)
        if group is not None:
            self._num_reserved -= group.tail.num_blocks
            self._free.add(group.tail)

    def check_integrity(self, held: Iterable[int]) -> None:
        """Checks that every block is free, reserved or held, exactly once, and that free runs never
        touch."""
        tails = [group.tail for group in self._groups.values()]
        free = [block for run in [*self._free, *tails] for block in run.blocks()]
        assert len(free) == self.num_free, f"counted {self.num_free} free, found {len(free)}"
        check_each_once(free, held, self.num_blocks)
        tailed = {owner for owner, group in self._groups.items() if group.tail.num_blocks}
        assert tailed == self._tailed.keys(), f"{tailed} have tails, known are {self._tailed}"
        runs = list(self._free)
        assert all(a.end < b.start for a, b in itertools.pairwise(runs)), f"touch: {runs}"

    def _take_pieces(self, owner: str, group: Group | None, missing: int) -> list[int]:
        """Takes whole free runs, the longest first, for as long as no single piece has what is
        missing. `_reserve` would find the same run by run, but asks for each what else there is."""
        if self._free.longest >= missing or self._next_to(group) is not None:
            return []
        runs = self._free.take_shorter(missing, while_above=self._longest_tail())
        taken = [block for run in runs for block in run.blocks()]
        if runs:
            self.counts.num_groups += len(runs)
            group = self._begin(owner, group, Run(runs[-1].end, 0))
            group.num_used += len(taken)
        return taken

    def _reserve(self, owner: str, group: Group | None, missing: int) -> Group:
        """Reserves a tail of at least one block for the owner, as near to its last block as can
        be."""
        tail = self._grown_in_place(group, missing) or self._new_tail(owner, missing)
        self._num_reserved += tail.num_blocks
        return self._begin(owner, group, tail)

    def _begin(self, owner: str, group: Group | None, tail: Run) -> Group:
        """Lets the owner's sequence go on in this run."""
        if group is None:
            group = self._groups[owner] = Group(tail=tail, num_used=0)
        self._set_tail(owner, group, tail)
        return group

    def _set_tail(self, owner: str, group: Group, tail: Run) -> None:
        group.tail = tail
        if tail.num_blocks:
            self._tailed[owner] = group
        else:
            self._tailed.pop(owner, None)

    def _next_to(self, group: Group | None) -> Run | None:
        """Returns the free run that begins after the owner's last block, if there is one."""
        return None if group is None else self._free.starting_at(group.tail.start)

    def _grown_in_place(self, group: Group | None, missing: int) -> Run | None:
        neighbour = self._next_to(group)
        if neighbour is None:
            return None
        self.counts.num_grown += 1
        return self._free.take(neighbour, min(neighbour.num_blocks, self._tail_blocks(missing)))

    def _new_tail(self, owner: str, missing: int) -> Run:
        """Returns what fits, a free run or another's tail, else the largest piece there is of
        either."""
        wanted = self._tail_blocks(missing)
        fitting = self._free.best_fit(wanted) or self._free.best_fit(missing)
        if fitting is None:
            split = self._split_off(missing)
            if split is not None:
                return split
            fitting = self._free.largest()
        if fitting is None:
            return self._largest_tail(owner)
        self.counts.num_groups += 1
        return self._free.take(fitting, min(fitting.num_blocks, wanted))

    def _tail_blocks(self, missing: int) -> int:
        """Returns how many blocks a new tail should have: a whole group while there is plenty, a
        fair share of what is free when there is not."""
        fair_share = self._free.num_blocks // (len(self._groups) + 1)
        return max(missing, min(self._group_blocks, fair_share))

    def _split_off(self, num_blocks: int) -> Run | None:
        """Takes the end of a victim's tail; the victim keeps what it would use next."""
        # The owner itself can not be chosen: its tail is empty, or it would not be here.
        victim = self._victim_rule(self._tailed, num_blocks, self._rng)
        if victim is None:
            return None
        group = self._groups[victim]
        tail, taken = group.tail.split(group.tail.num_blocks - num_blocks)
        self._set_tail(victim, group, tail)
        self._num_reserved -= num_blocks
        self.counts.num_splits += 1
        return taken

    def _largest_tail(self, owner: str) -> Run:
        """Takes the longest tail as a first piece: nothing is free, and no tail is long enough
        alone."""
        longest = self._longest_tail()
        taken = self._split_off(longest) if longest else None
        assert taken is not None, f"{owner}: no block is free; {self.num_free} were counted"
        return taken

    def _longest_tail(self) -> int:
        """Returns how many blocks the longest tail has."""
        return max((group.tail.num_blocks for group in self._tailed.values()), default=0)
