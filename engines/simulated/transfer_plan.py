"""What a transfer's runs come to in copy calls, and what these cost beside their bytes.

Counts as `engines.embedded.devices.copies` does, which has the table; but knows no torch.
"""

from __future__ import annotations

from collections.abc import Sequence

from engines.core.device import BlockRun, Direction, TransferStats
from engines.core.settings import Copy, Layout
from engines.simulated.constants import BYTES_PER_VALUE, Profile

BATCH_BYTES = 16 * 2**20  # that one call of `copy: batched` moves


class TransferPlan:
    """Counts and times the copy calls of transfers. With tensor parallelism each GPU moves its
    heads' part of a block over its own link, all at the same time: calls are counted and timed
    once, bytes counted whole."""

    def __init__(self, profile: Profile, *, block_size: int, layout: Layout, copy: Copy) -> None:
        shape = profile.shape
        self._copy = copy
        self._num_ranks = profile.tensor_parallel
        self._num_parts = 1 if layout == "cross_layer" else 2 * shape.num_layers
        self._block_bytes = (
            2 * shape.num_layers * block_size * shape.num_kv_heads * shape.head_dim
        ) * BYTES_PER_VALUE
        link = profile.link
        self._copy_s = link.copy_s.value
        self._descriptor_s = link.descriptor_s.value
        self._small_piece_bytes = link.small_piece_bytes.value
        # What a byte of a small piece takes longer; the link is free for others meanwhile.
        rates = {
            Direction.SWAP_IN: link.swap_in_bytes_per_s.value,
            Direction.SWAP_OUT: link.swap_out_bytes_per_s.value,
        }
        small = link.small_piece_bytes_per_s.value
        self._small_byte_s = {
            direction: max(0.0, 1 / small - 1 / rate) for direction, rate in rates.items()
        }

    def stats(self, runs: Sequence[BlockRun]) -> TransferStats:
        num_blocks = sum(run.num_blocks for run in runs)
        if self._copy == "batched":
            num_copies = -(-num_blocks // max(1, BATCH_BYTES // self._block_bytes))
        else:
            num_copies = self._num_pieces(runs)
        return TransferStats(num_copies=num_copies, num_bytes=num_blocks * self._block_bytes)

    def calls_s(self, direction: Direction, runs: Sequence[BlockRun]) -> float:
        """Returns what the calls take beside their bytes at the link's full rate."""
        num_pieces = self._num_pieces(runs)
        if self._copy != "batched":
            return num_pieces * self._copy_s
        part_bytes = self._block_bytes / self._num_parts / self._num_ranks
        num_small_bytes = self._num_parts * sum(
            run.num_blocks * part_bytes
            for run in runs
            if run.num_blocks * part_bytes < self._small_piece_bytes
        )
        return (
            self.stats(runs).num_copies * self._copy_s
            + num_pieces * self._descriptor_s
            + num_small_bytes * self._small_byte_s[direction]
        )

    def link_bytes(self, stats: TransferStats) -> float:
        """Returns the bytes that go over each GPU's link."""
        return stats.num_bytes / self._num_ranks

    def _num_pieces(self, runs: Sequence[BlockRun]) -> int:
        """Returns how many pieces there are that are contiguous on both sides, so far as `copy`
        looks."""
        if self._copy == "per_block":
            return sum(run.num_blocks for run in runs) * self._num_parts
        return len(runs) * self._num_parts
