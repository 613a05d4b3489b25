from __future__ import annotations

import mmap
import weakref

import pytest
import torch

from engines.embedded.devices import kv_pool
from engines.embedded.devices.kv_pool import BlockShape, allocate_pool
from engines.embedded.devices.pinned_memory import PinnedMemory
from engines.errors import EngineInputError

SHAPE = BlockShape(
    num_layers=2,
    block_size=4,
    num_kv_heads=2,
    head_dim=8,
    dtype=torch.float32,
    layout="cross_layer",
)


class Registry:
    """What cudaHostRegister was told."""

    def __init__(self) -> None:
        self.pinned: dict[int, int] = {}

    def pin(self, num_bytes: int) -> PinnedMemory:
        return PinnedMemory(num_bytes, register=self.register, unregister=self.unregister)

    def register(self, address: int, num_bytes: int) -> None:
        self.pinned[address] = num_bytes

    def unregister(self, address: int) -> None:
        del self.pinned[address]


def test_it_has_exactly_its_size_is_zeroed_and_let_go_once() -> None:
    registry = Registry()
    num_bytes = 3 * mmap.PAGESIZE + 8
    memory = registry.pin(num_bytes)
    assert registry.pinned == {memory.values.data_ptr(): num_bytes}
    assert len(memory.values) == num_bytes
    assert not memory.values.any()
    memory.close()
    memory.close()
    assert registry.pinned == {}
    memory.values.fill_(1)  # ordinary memory now


def test_a_pinned_pool_lies_in_it_and_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.setattr(kv_pool, "PinnedMemory", registry.pin)
    pool = allocate_pool(SHAPE, 5, torch.device("cpu"), pin_memory=True)
    assert registry.pinned == {pool.by_part.data_ptr(): 5 * SHAPE.num_bytes}
    pool.by_layer[1, 0, 4] = 7.0
    assert pool.pinned is not None
    assert pool.pinned.values.view(torch.float32).sum() == 7 * 4 * 2 * 8
    pool.close()
    assert registry.pinned == {}
    values = weakref.ref(pool.pinned.values)
    del pool
    assert values() is None


def test_what_can_not_be_pinned_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(num_bytes: int) -> PinnedMemory:
        raise RuntimeError("pinning failed: cudaErrorMemoryAllocation")

    monkeypatch.setattr(kv_pool, "PinnedMemory", refuse)
    with pytest.raises(EngineInputError, match=r"MemoryAllocation.*lower kv_tokens") as got:
        allocate_pool(SHAPE, 5, torch.device("cpu"), pin_memory=True)
    assert "\n" not in str(got.value)
