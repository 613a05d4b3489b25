"""The loop in C and the batch call, around functions that are called as CUDA's are."""

from __future__ import annotations

import ctypes
import random
import shutil
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from engines.core.device import BlockRun
from engines.embedded.devices import native_copies
from engines.embedded.devices.native_copies import (
    BURST_COPIES,
    BatchCall,
    CopyLoop,
    Pieces,
    address_of,
    pieces_of,
)
from engines.errors import EngineInputError

needs_compiler = pytest.mark.skipif(
    not (shutil.which("cc") or shutil.which("gcc")), reason="needs a C compiler"
)
POINTER, SIZE = ctypes.c_void_p, ctypes.c_size_t
COPY = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER, SIZE, ctypes.c_int, POINTER)
RECORD = ctypes.CFUNCTYPE(ctypes.c_int, POINTER, POINTER)
WAIT = ctypes.CFUNCTYPE(ctypes.c_int, POINTER)
EVENTS = (0xA, 0xB)


class Stream:
    """Copies at once, and keeps in mind how many could still be under way."""

    def __init__(self, *, fails_at: int | None = None) -> None:
        self.num_copies = 0
        self.num_done = 0  # as far as somebody has waited
        self.max_in_flight = 0
        self.calls: list[tuple[int, int]] = []  # kind and stream of each copy
        self._recorded: dict[int, int] = {}
        self._fails_at = fails_at
        self._functions = COPY(self._copy), RECORD(self._record), WAIT(self._wait)

    def loop(self) -> CopyLoop:
        copy, record, wait = (address_of(each) for each in self._functions)
        return CopyLoop(copy=copy, record=record, wait=wait)

    def _copy(self, target: int, source: int, size: int, kind: int, stream: int) -> int:
        if self.num_copies == self._fails_at:
            return 700
        ctypes.memmove(target, source, size)
        self.calls.append((kind, stream))
        self.num_copies += 1
        self.max_in_flight = max(self.max_in_flight, self.num_copies - self.num_done)
        return 0

    def _record(self, event: int, stream: int) -> int:
        self._recorded[event] = self.num_copies
        return 0

    def _wait(self, event: int) -> int:
        if self._recorded[event] == self.num_copies:
            return 99  # nothing would be left on the link
        self.num_done = self._recorded[event]
        return 0


def pools(num_parts: int, num_blocks: int) -> tuple[Tensor, Tensor]:
    source = torch.arange(num_parts * num_blocks * 6, dtype=torch.int32)
    target = torch.zeros(num_parts, num_blocks + 3, 6, dtype=torch.int32)
    return source.view(num_parts, num_blocks, 6), target


def copied(source: Tensor, target: Tensor, runs: list[BlockRun]) -> Tensor:
    expected = target.clone()
    for run in runs:
        for offset in range(run.num_blocks):
            expected[:, run.target + offset] = source[:, run.source + offset]
    return expected


def scattered_runs(rng: random.Random, num_blocks: int) -> list[BlockRun]:
    """In four places of each four blocks, in any order."""
    places = range(num_blocks // 4)
    pairs = zip(rng.sample(places, len(places)), rng.sample(places, len(places)), strict=True)
    return [BlockRun(4 * source, 4 * target, rng.randint(1, 4)) for source, target in pairs]


@needs_compiler
@given(seed=st.integers(0, 1000), num_parts=st.integers(1, 5), num_blocks=st.integers(4, 200))
def test_the_loop_copies_what_the_runs_say(seed: int, num_parts: int, num_blocks: int) -> None:
    source, target = pools(num_parts, num_blocks)
    runs = scattered_runs(random.Random(seed), num_blocks)
    expected = copied(source, target, runs)
    stream = Stream()
    pieces = pieces_of(source, target, runs)
    assert len(pieces) == len(runs) * num_parts
    assert stream.loop()(pieces, kind=2, stream=77, events=EVENTS) == 0
    assert torch.equal(target, expected)
    assert set(stream.calls) == {(2, 77)}


@needs_compiler
@pytest.mark.parametrize("num_blocks", [1, BURST_COPIES, 1000])
def test_a_long_transfer_waits_only_for_the_burst_before_the_last(num_blocks: int) -> None:
    source, target = pools(1, num_blocks)
    pieces = pieces_of(source, target, [BlockRun(i, i, 1) for i in range(num_blocks)])
    stream = Stream()
    assert stream.loop()(pieces, kind=1, stream=1, events=EVENTS) == 0
    assert stream.num_copies == num_blocks
    assert stream.max_in_flight <= 2 * BURST_COPIES


@needs_compiler
def test_an_error_ends_the_loop_and_is_given_back() -> None:
    source, target = pools(1, 9)
    stream = Stream(fails_at=4)
    pieces = pieces_of(source, target, [BlockRun(i, i, 1) for i in range(9)])
    assert stream.loop()(pieces, kind=1, stream=1, events=EVENTS) == 700
    assert stream.num_copies == 4


@needs_compiler
def test_other_threads_go_on_while_copies_are_handed_over() -> None:
    """The "copy" blocks until this thread says otherwise, which it could not if the loop kept
    Python's lock."""
    libc = ctypes.CDLL(None)
    semaphore = ctypes.create_string_buffer(64)
    libc.sem_init(semaphore, 0, 0)
    one = np.array([ctypes.addressof(semaphore)], dtype=np.uint64)
    pieces = Pieces(sources=one, targets=one, sizes=one)
    loop = CopyLoop(copy=address_of(libc.sem_wait), record=0, wait=0)
    codes: list[int] = []
    thread = threading.Thread(
        target=lambda: codes.append(loop(pieces, kind=1, stream=0, events=EVENTS))
    )
    thread.start()
    libc.sem_post(semaphore)
    thread.join(timeout=60)
    assert codes == [0]


def test_without_a_compiler_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("CC", raising=False)
    native_copies._compiled.cache_clear()
    try:
        with pytest.raises(EngineInputError, match=r"need a C compiler.*copy: kernel"):
            CopyLoop(copy=1, record=1, wait=1)
    finally:
        native_copies._compiled.cache_clear()


class Runtime:
    """A CUDA runtime with a batch call of its version's signature."""

    def __init__(self, *, tells_which_failed: bool) -> None:
        failed = [POINTER] if tells_which_failed else []
        signature = [*[POINTER] * 3, SIZE, *[POINTER] * 2, SIZE, *failed, POINTER]
        self.streams: list[int] = []
        self.orders: list[int] = []
        self.num_attributes: list[tuple[int, int]] = []
        self.cudaMemcpyBatchAsync = ctypes.CFUNCTYPE(ctypes.c_int, *signature)(self._copy)

    def _copy(self, targets: int, sources: int, sizes: int, count: int, *rest: Any) -> int:
        attributes, first, num_attributes, *_, stream = rest
        to, from_, lengths = (
            ctypes.cast(each, ctypes.POINTER(SIZE)) for each in (targets, sources, sizes)
        )
        for i in range(count):
            ctypes.memmove(to[i], from_[i], lengths[i])
        first_copy = ctypes.cast(first, ctypes.POINTER(SIZE))[0]
        self.num_attributes.append((num_attributes, first_copy))
        self.orders.append(ctypes.cast(attributes, ctypes.POINTER(ctypes.c_int))[0])
        self.streams.append(stream)
        return 0


@pytest.mark.parametrize(("version", "tells"), [((12, 8), True), ((13, 0), False)])
def test_the_batch_call_is_made_as_its_version_wants_it(
    version: tuple[int, int], tells: bool
) -> None:
    source, target = pools(2, 30)
    runs = scattered_runs(random.Random(0), 30)
    expected = copied(source, target, runs)
    runtime: Any = Runtime(tells_which_failed=tells)
    assert BatchCall(runtime, version)(pieces_of(source, target, runs), stream=5) == 0
    assert torch.equal(target, expected)
    assert (runtime.streams, runtime.orders) == ([5], [native_copies.IN_STREAM_ORDER])
    assert runtime.num_attributes == [(1, 0)]  # one, for the first copy and all behind it
    assert ctypes.sizeof(native_copies._Attributes) == 24


def test_an_old_runtime_is_refused_in_one_line() -> None:
    runtime: Any = Runtime(tells_which_failed=True)
    with pytest.raises(EngineInputError, match=r"needs CUDA 12\.8 .* got 12\.4; take copy: merged"):
        BatchCall(runtime, (12, 4))
