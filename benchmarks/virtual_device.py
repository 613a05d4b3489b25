"""A device in virtual time: what a step and a transfer would take on an A10 with Llama-3-8B.

It computes no tokens and moves no bytes; it only moves its clock. The numbers below are datasheet
figures and published measurements of neighbouring GPUs put together by analogy: nobody measured
steps of this pair. Whatever is played on it is virtual time, not a measurement of a GPU.

    step      = (weights ⊕ products) + c0 + c1 · sequences + KV bytes read / bandwidth
                weights  = 2 W / bandwidth        reading all parameters, in bfloat16, once
                products = 2 W · tokens / FLOP/s  and a ⊕ b = (a⁴ + b⁴)^¼: the larger, softly
    transfer  = copies · t0 + bytes / link        after the earlier ones of its direction
    copies    = runs · layers · 2                 a layer's K and V lie apart

Left out: the FLOPs of attention in prefill, the CPU time of submitting copies, and that the two
directions of the link slow each other down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engines.fastswitch.device import Batch, BlockRun, Direction, TransferStats

TOKEN_ID = 7  # what every sample comes to


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Seconds, bytes, and rates per second. The defaults: A10 24 GB, Llama-3-8B in bfloat16."""

    num_parameters: float = 8.03e9
    num_layers: int = 32
    kv_bytes_per_token: int = 131_072  # 2 · 32 layers · 8 heads · 128 · 2 bytes
    memory_bandwidth: float = 505e9  # of 600 datasheet: the ratio that an A40 and an RTX 4090 reach
    flops: float = 75e12  # of 125 datasheet; held down by the 150 W limit
    step_s: float = 0.5e-3  # c0
    sequence_s: float = 40e-6  # c1
    link_bandwidth: float = 25e9  # PCIe 4.0 x16 as measured on A100s
    copy_s: float = 5e-6  # t0; measured 5 to 7 µs a copy

    def execute_s(self, batch: Batch) -> float:
        num_tokens = num_context_tokens = 0
        for chunk in batch.chunks:
            num_tokens += len(chunk.token_ids)
            num_context_tokens += chunk.start + len(chunk.token_ids)
        weights_s = 2 * self.num_parameters / self.memory_bandwidth
        products_s = 2 * self.num_parameters * num_tokens / self.flops
        kv_s = num_context_tokens * self.kv_bytes_per_token / self.memory_bandwidth
        own_s = self.step_s + self.sequence_s * len(batch.chunks)
        return float((weights_s**4 + products_s**4) ** 0.25) + kv_s + own_s

    def transfer_s(self, stats: TransferStats) -> float:
        return stats.num_copies * self.copy_s + stats.num_bytes / self.link_bandwidth


class VirtualTransfer:
    def __init__(
        self, device: VirtualDevice, stats: TransferStats, *, begins_at: float, ends_at: float
    ) -> None:
        self.stats = stats
        self.duration_s = ends_at - device.now
        self.copying_s = ends_at - begins_at
        self._device = device
        self._ends_at = ends_at

    def is_done(self) -> bool:
        return self._device.now >= self._ends_at

    def wait(self) -> None:
        self._device.now = max(self._device.now, self._ends_at)


class VirtualDevice:
    """Time passes in `execute`, in a transfer's `wait`, and when its player moves `now`."""

    def __init__(
        self,
        cost: CostModel,
        *,
        block_size: int,
        num_device_blocks: int,
        num_host_blocks: int,
    ) -> None:
        self.block_size = block_size
        self.num_device_blocks = num_device_blocks
        self.num_host_blocks = num_host_blocks
        self.now = 0.0
        self._cost = cost
        self._block_bytes = block_size * cost.kv_bytes_per_token
        self._free_at = dict.fromkeys(Direction, 0.0)

    def clock(self) -> float:
        return self.now

    def execute(self, batch: Batch) -> list[int | None]:
        self.now += self._cost.execute_s(batch)
        return [None if chunk.sampling is None else TOKEN_ID for chunk in batch.chunks]

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> VirtualTransfer:
        stats = TransferStats(
            num_copies=len(runs) * self._cost.num_layers * 2,
            num_bytes=sum(run.num_blocks for run in runs) * self._block_bytes,
        )
        begins_at = max(self.now, self._free_at[direction])
        ends_at = begins_at + self._cost.transfer_s(stats)
        self._free_at[direction] = ends_at
        return VirtualTransfer(self, stats, begins_at=begins_at, ends_at=ends_at)

    def close(self) -> None: ...
