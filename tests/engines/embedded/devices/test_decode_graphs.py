"""Recorded decode steps, with a recorder that runs the recorded function again."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from engines.core.device import Batch, SequenceChunk
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, Layout
from engines.embedded.devices.torch_device import TorchDevice
from tests.engines.embedded.devices.decoding import (
    Sequence,
    device_for,
    generate,
    small_decoder,
    step,
)
from tests.engines.embedded.devices.kernels import DEVICE, IS_INTERPRETED
from tests.engines.embedded.devices.test_every_combination import (
    Played,
    check,
    tiny_decoder,
)

from engines.embedded.devices import decode_graphs, kernel_attention  # isort: skip  # need Triton

PROMPTS = [[random.Random(i).randrange(300) for _ in range(3 + 7 * i)] for i in range(5)]
SAMPLINGS = [
    SamplingParams(max_tokens=64),
    SamplingParams(max_tokens=64, temperature=1.0, top_p=0.9, seed=5),
    SamplingParams(max_tokens=64, min_tokens=3, eos_token_ids=frozenset(range(150))),
    SamplingParams(max_tokens=64),
    SamplingParams(max_tokens=64),
]
DECODER = small_decoder()


@pytest.fixture(autouse=True)
def few_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each program is a loop in Python here, each tile a turn of it."""
    monkeypatch.setattr(kernel_attention, "ENOUGH_PROGRAMS", 4)
    if IS_INTERPRETED:
        monkeypatch.setitem(kernel_attention.TILE_TOKENS, torch.float64, 64)


class Recorder:
    """Counts what is recorded and replayed; on a GPU by CUDA, else by running it again."""

    def __init__(self) -> None:
        self.num_recorded = self.num_replayed = 0
        self.functions: list[decode_graphs.Function] = []
        self._record = (
            decode_graphs.rerun
            if IS_INTERPRETED
            else decode_graphs.CudaGraphs(torch.device(DEVICE))
        )

    def __call__(self, function: decode_graphs.Function) -> decode_graphs.Function:
        self.num_recorded += 1
        self.functions.append(function)
        replay = self._record(function)

        def counted() -> decode_graphs.Decoded:
            self.num_replayed += 1
            return replay()

        return counted


def sequences() -> list[Sequence]:
    blocks = random.Random(3).sample(range(64), 60)
    return [
        Sequence(token_ids=prompt, block_table=blocks[12 * i : 12 * i + 12], sampling=sampling)
        for i, (prompt, sampling) in enumerate(zip(PROMPTS, SAMPLINGS, strict=True))
    ]


def expected() -> list[list[int]]:
    """Each alone, by torch's kernels."""
    return [generate(device_for(DECODER), each, 6) for each in sequences()]


def graph_device(recorder: Recorder, *, layout: Layout = "per_layer", max_rows: int) -> TorchDevice:
    decoder = small_decoder(device=DEVICE)
    return device_for(
        decoder, layout=layout, attention="triton", max_graph_rows=max_rows, record=recorder
    )


@pytest.mark.parametrize("layout", ["per_layer", "cross_layer"])
@pytest.mark.parametrize("max_rows", [0, 8])
def test_tokens_are_those_of_torchs_kernels_alone(layout: Layout, max_rows: int) -> None:
    """Graphs and kernels, mixed batches and decodes: 3 decode first, then 5, which fill up to 8."""
    recorder = Recorder()
    device = graph_device(recorder, layout=layout, max_rows=max_rows)
    ours = sequences()
    for each in ours[:3]:
        step(device, (each, 4))
        step(device, (each, None))
    step(device, *((each, None) for each in ours[:3]), (ours[3], None))
    step(device, *((each, None) for each in ours[:3]), (ours[3], None), (ours[4], 9))
    step(device, *((each, None) for each in ours))
    while any(len(each.output) < 6 for each in ours):
        step(device, *((each, None) for each in ours if len(each.output) < 6))
    assert [each.output for each in ours] == expected()
    assert (recorder.num_replayed > 3) == (max_rows > 0)


def test_what_fills_a_batch_up_touches_no_ones_blocks() -> None:
    """Three decode in a graph of four; before that, all sizes were recorded on nobody's rows."""
    device = graph_device(Recorder(), max_rows=4)
    ours = [
        Sequence(token_ids=PROMPTS[1], block_table=[*range(first, first + 12)])
        for first in (10, 22, 34)
    ]
    for each in ours:
        step(device, (each, None))
    written = {block for each in ours for block in each.block_table[:3]}  # ten tokens and one
    others = [block for block in range(64) if block not in written]
    for block in others:
        device.block_content("device", block).fill_(7.0)
    device.prepare()
    step(device, *((each, None) for each in ours))
    for block in others:
        assert bool((device.block_content("device", block) == 7.0).all())


def test_all_sizes_are_recorded_before_anybody_waits() -> None:
    recorder = Recorder()
    device = graph_device(recorder, max_rows=6)
    device.prepare()
    assert recorder.num_recorded == 4  # 1, 2, 4, 6
    ours = Sequence(token_ids=[5], block_table=[*range(12)])
    step(device, (ours, None))
    assert (recorder.num_recorded, recorder.num_replayed) == (4, 1)


@given(max_rows=st.integers(1, 2000))
def test_sizes_are_powers_of_two_up_to_the_largest_batch(max_rows: int) -> None:
    sizes = decode_graphs.batch_sizes(max_rows)
    assert sizes[-1] == min(max_rows, decode_graphs.MAX_ROWS)
    assert all(size.bit_count() == 1 for size in sizes[:-1])
    assert list(sizes) == sorted(set(sizes))
    assert all(2 * small >= large for small, large in itertools.pairwise(sizes))


def test_what_no_graph_can_do_is_launched_kernel_by_kernel() -> None:
    recorder = Recorder()
    device = graph_device(recorder, max_rows=1)
    ours = sequences()[:2]
    step(device, (ours[0], None), (ours[1], None))  # prompts
    step(device, (ours[0], None), (ours[1], None))  # more rows than the largest graph has
    part = Sequence(token_ids=[1, 2, 3], block_table=[*range(60, 64)])
    assert device.execute(Batch(chunks=[part.chunk(1)])) == [None]  # nothing to sample
    assert recorder.num_replayed == 0
    step(device, (ours[0], None))
    assert recorder.num_replayed == 1


@pytest.mark.parametrize(("dtype", "max_rows"), [(torch.float32, 4), (torch.bfloat16, 0)])
def test_decode_steps_write_what_torchs_kernels_write(dtype: torch.dtype, max_rows: int) -> None:
    """The same tokens put in, so that a rounded logit decides nothing: K and V of all layers."""
    ours, other = (
        device_for(small_decoder(dtype, device=DEVICE), **steps)
        for steps in (
            {"attention": "triton", "max_graph_rows": max_rows, "record": Recorder()},
            {"attention": "torch"},
        )
    )
    for device in (ours, other):
        for i, prompt in enumerate(PROMPTS[:3]):
            each = Sequence(token_ids=[*prompt, 7, 8, 9], block_table=[*range(12 * i, 12 * i + 12)])
            step(device, (each, len(prompt)))
            for _ in range(3):
                device.execute(Batch(chunks=[_sampling(each.chunk(1))]))
                each.num_computed += 1
    tolerance = 1e-4 if dtype is torch.float32 else 6e-2
    for block in range(36):
        torch.testing.assert_close(
            ours.block_content("device", block),
            other.block_content("device", block),
            rtol=tolerance,
            atol=tolerance,
        )


def _sampling(chunk: SequenceChunk) -> SequenceChunk:
    """The same, of which a token is asked: then a graph takes it."""
    return replace(chunk, sampling=SamplingParams(max_tokens=64))


class Operations(TorchDispatchMode):
    """Notes what is asked of torch: the operation, and every argument but tensors' contents."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[object] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        self.seen.append((str(func), *map(_noted, [*args, *(kwargs or {}).values()])))
        return func(*args, **(kwargs or {}))


def _noted(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape), value.stride(), value.dtype, value.device
    if isinstance(value, list | tuple):
        return tuple(map(_noted, value))
    return value


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """Grids, addresses of inputs, shapes and constants of each launch of the decode kernel."""
    seen: list[object] = []
    kernel = kernel_attention.decode_parts

    class Noting:
        def __getitem__(self, grid: object) -> Any:
            def launch(*args: Any, **constants: Any) -> None:
                addresses = [each.data_ptr() for each in args[1:5]]  # kv, lengths, starts, tables
                shapes = [_noted(each) for each in args]
                seen.append((grid, addresses, shapes, constants))
                with _disable_current_modes():  # what the interpreter does is not the step's
                    kernel[grid](*args, **constants)

            return launch

    monkeypatch.setattr(kernel_attention, "decode_parts", Noting())
    yield seen


def test_a_recorded_step_is_the_same_whatever_the_batch_holds(launches: list[object]) -> None:
    """As a graph needs it: the same operations on the same addresses, and nothing is asked back."""
    recorder = Recorder()
    device = graph_device(recorder, max_rows=4)
    ours = sequences()
    for each in ours[:4]:
        step(device, (each, None))
    traces = []
    for members in (ours[:3], ours[1:4], ours[:4]):
        step(device, *((each, None) for each in members))
        launches.clear()
        with Operations() as operations:
            recorder.functions[-1]()
        traces.append((operations.seen, list(launches)))
    for operations_seen, launched in traces[1:]:
        for ours, first in zip(operations_seen, traces[0][0], strict=True):
            assert ours == first
        assert launched == traces[0][1]
    assert len(traces[0][1]) == 2  # layers
    names = {each[0] for each in traces[0][0] if isinstance(each, tuple)}
    assert not any("_local_scalar_dense" in name or "nonzero" in name for name in names)


def test_the_engine_gives_the_same_tokens_through_kernels_and_graphs() -> None:
    """Preempted, swapped out and in, waited for or not."""
    mechanisms = PRESETS["fastswitch-x"]
    recorder = Recorder()
    played = Played(
        mechanisms, tiny_decoder(DEVICE), attention="triton", max_graph_rows=4, record=recorder
    )
    check(played, mechanisms)
    assert recorder.num_replayed > 10
