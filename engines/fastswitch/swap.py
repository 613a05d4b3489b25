"""Moving KV between the two pools: from block lists to copy runs, to transfers, to their cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from engines.fastswitch.device import BlockRun, Device, Direction
from engines.fastswitch.settings import Copy


def copy_runs(sources: Sequence[int], targets: Sequence[int], copy: Copy) -> list[BlockRun]:
    """The copies that move block sources[i] to targets[i], for all i.

    `per_block`: one each. `merged`: neighbours on BOTH sides go together.
    """
    if copy == "per_block":
        return [
            BlockRun(source=source, target=target, num_blocks=1)
            for source, target in zip(sources, targets, strict=True)
        ]
    runs: list[BlockRun] = []
    start = 0
    for i in range(1, len(sources) + 1):
        is_neighbour = (
            i < len(sources)
            and sources[i] == sources[i - 1] + 1
            and targets[i] == targets[i - 1] + 1
        )
        if not is_neighbour:
            runs.append(
                BlockRun(source=sources[start], target=targets[start], num_blocks=i - start)
            )
            start = i
    return runs


@dataclass(slots=True)
class SwapCosts:
    """What moved since the last `take`, and how long the device stood idle for it."""

    num_swap_out_blocks: int = 0
    num_swap_in_blocks: int = 0
    num_copy_runs: int = 0
    num_copies: int = 0
    num_copied_bytes: int = 0
    stall_s: float = 0.0


class SyncSwapper:
    """`swap: sync`, as vLLM 0.3: every transfer is waited for before the model runs."""

    def __init__(self, device: Device, copy: Copy, clock: Callable[[], float]) -> None:
        self._device = device
        self._copy = copy
        self._clock = clock
        self._costs = SwapCosts()

    def move(self, direction: Direction, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy blocks; on return the sources may be freed and the targets read."""
        if not sources:
            return
        began_at = self._clock()
        runs = copy_runs(sources, targets, self._copy)
        transfer = self._device.transfer(direction, runs)
        transfer.wait()
        costs = self._costs
        costs.stall_s += self._clock() - began_at
        costs.num_copy_runs += len(runs)
        costs.num_copies += transfer.stats.num_copies
        costs.num_copied_bytes += transfer.stats.num_bytes
        if direction is Direction.SWAP_OUT:
            costs.num_swap_out_blocks += len(sources)
        else:
            costs.num_swap_in_blocks += len(sources)

    def take_costs(self) -> SwapCosts:
        costs, self._costs = self._costs, SwapCosts()
        return costs
