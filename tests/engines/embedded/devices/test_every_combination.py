"""Every combination of mechanisms gives the tokens of an undisturbed run, with a real model."""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import replace
from functools import cache
from typing import Any, get_args

import numpy as np
import pytest
import torch

from engines.api import PriorityUpdates
from engines.core.device import Direction
from engines.core.engine import Engine
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import (
    PRESETS,
    Allocator,
    CoreSettings,
    Layout,
    Mechanisms,
    Preemption,
    Reuse,
    Swap,
)
from engines.embedded.devices.copies import CPU_COPIES
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.devices.weights import RandomTensors, assemble
from engines.models.model_config import ModelConfig, rope_frequencies
from tests.engines.embedded.devices.decoding import Sequence, device_for, generate
from tests.engines.embedded.devices.held_device import HeldDevice

TINY = ModelConfig(
    vocab_size=64,
    hidden_size=32,
    intermediate_size=48,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    head_dim=8,
    max_positions=128,
    rms_norm_eps=1e-5,
    inverse_frequencies=rope_frequencies(10_000.0, 8),
)


# float64, so that rounding decides nothing. The seed is one with which no answer is monotonous.
def tiny_decoder(device: str = "cpu") -> Decoder:
    weights = assemble(
        RandomTensors(TINY, 7), TINY, dtype=torch.float64, device=torch.device(device)
    )
    return Decoder(TINY, weights)


DECODER = tiny_decoder()
BLOCK_SIZE = 4
NUM_CONVERSATIONS = 6
NUM_OUTPUT_TOKENS = 10
KV_TOKENS = 64  # room for two or three of six contexts
FIELDS = ("allocator", "swap", "preemption", "reuse", "layout", "copy")
VALUES = (*map(get_args, (Allocator, Swap, Preemption, Reuse, Layout)), CPU_COPIES)
COMBINATIONS = {
    "-".join(names): replace(PRESETS["vllm-0.3"], **dict(zip(FIELDS, names, strict=True)))
    for names in itertools.product(*VALUES)
}
COMBINATIONS |= {  # the allocator and the way of copying do not ask who came in past whom
    "-".join(["backfill", *names]): replace(
        PRESETS["fastswitch-x"], swap=names[0], preemption=names[1], reuse=names[2]
    )
    for names in itertools.product(*map(get_args, (Swap, Preemption, Reuse)))
}


def moves_kv(mechanisms: Mechanisms) -> bool:
    return mechanisms.preemption == "swap" or "host" in mechanisms.reuse


# Where no KV ever leaves the device (which is asserted), how it would is no difference.
DISTINCT = [
    name
    for name, each in COMBINATIONS.items()
    if moves_kv(each) or (each.swap, each.copy) == ("sync", "merged")
]


def prompt_of(conversation: int, turn: int) -> list[int]:
    rng = np.random.default_rng((conversation, turn))
    return rng.integers(0, TINY.vocab_size, size=4 + conversation % 3).tolist()


@cache
def undisturbed() -> dict[str, tuple[list[int], list[int]]]:
    """Each turn's whole prompt and its answer, computed alone, in one piece, without a swap."""
    turns = {}
    for conversation in range(NUM_CONVERSATIONS):
        history: list[int] = []
        for turn in range(2):
            prompt = history + prompt_of(conversation, turn)
            alone = Sequence(token_ids=prompt, block_table=[*range(16)])
            answer = generate(device_for(DECODER), alone, NUM_OUTPUT_TOKENS)
            turns[f"c{conversation}/{turn}"] = (prompt, answer)
            history = prompt + answer
    return turns


def rotating_priorities() -> PriorityUpdates:
    """Every second step those two who were the most urgent become the least."""
    updates, conversations = np.arange(3)[:, None], np.arange(NUM_CONVERSATIONS)[None, :]
    return PriorityUpdates(
        update_frequency=0.5,
        conversation_ids=[f"c{each}" for each in range(NUM_CONVERSATIONS)],
        levels=((conversations + 2 * updates) % NUM_CONVERSATIONS).astype(np.uint8),
    )


class Played:
    """First turns of all conversations through one engine, then the second turns."""

    def __init__(self, mechanisms: Mechanisms, decoder: Decoder = DECODER, **steps: Any) -> None:
        """`steps`: by which kernels, see `TorchDevice`."""
        core = CoreSettings(
            mechanisms=mechanisms,
            block_size=BLOCK_SIZE,
            kv_tokens=KV_TOKENS,
            swap_tokens=192,
            max_batch_tokens=16,
            max_num_seqs=4,
            group_tokens=16,
        )
        torch_device = TorchDevice(
            decoder,
            block_size=core.block_size,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            copy=mechanisms.copy,
            layout=mechanisms.layout,
            num_copy_threads=0 if mechanisms.swap == "sync" else 1,
            **steps,
        )
        # Blocks that stay of use after they were copied from are not poisoned.
        poisons = {"host_copy": {Direction.SWAP_OUT}, "prefix": {Direction.SWAP_IN}}.get(
            mechanisms.reuse, set(Direction)
        )
        self.tokens: dict[str, list[int]] = {}
        self.num_preemptions: dict[str, int] = {}
        with closing(HeldDevice(torch_device, poisons=poisons)) as device:
            self.engine = Engine(
                core,
                device,
                clock=device.clock,
                priorities=rotating_priorities(),
                on_request=lambda record: self.num_preemptions.update(
                    {record.request_id: record.num_preemptions}
                ),
            )
            for turn in range(2):
                self._play(turn)
        self.stats = self.engine.stats

    def _play(self, turn: int) -> None:
        for conversation in range(NUM_CONVERSATIONS):
            name = f"c{conversation}/{turn}"
            self.engine.submit(
                Request(
                    request_id=name,
                    prompt_token_ids=undisturbed()[name][0],
                    sampling=SamplingParams(max_tokens=NUM_OUTPUT_TOKENS),
                    arrived_at=0.0,
                    conversation_id=f"c{conversation}",
                )
            )
        while self.engine.has_work:
            assert self.engine.stats.num_steps < 1000, self.engine.stats
            for output in self.engine.step():
                self.tokens.setdefault(output.request_id, []).extend(output.token_ids)


def test_the_answers_say_something() -> None:
    for _, answer in undisturbed().values():
        assert len(set(answer)) >= 7


@pytest.mark.parametrize("combination", DISTINCT)
def test_tokens_are_those_of_an_undisturbed_run(combination: str) -> None:
    check(Played(COMBINATIONS[combination]), COMBINATIONS[combination])


def check(played: Played, mechanisms: Mechanisms) -> None:
    assert played.tokens == {name: answer for name, (_, answer) in undisturbed().items()}
    assert min(played.num_preemptions.values()) >= 2, played.num_preemptions
    stats = played.stats
    assert (stats.num_swap_in_blocks > 0) == moves_kv(mechanisms)
    assert (stats.num_swap_out_blocks > 0) == moves_kv(mechanisms)
    if mechanisms.preemption == "swap":
        assert stats.num_recompute_preemptions < stats.num_preemptions
    else:
        assert stats.num_recompute_preemptions > 0
