"""Each policy decides on torch as it does on the modelled device, step by step, and no answer
changes by it."""

from __future__ import annotations

from collections.abc import Sequence as Several
from contextlib import closing
from dataclasses import replace
from functools import cache

import pytest

from engines.core.device import Batch, BlockRun, Device, Direction, Transfer
from engines.core.engine import Engine
from engines.core.policies.settings import POLICIES, PolicySettings
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, CoreSettings
from engines.embedded.devices.paced import PacedDevice
from engines.embedded.devices.torch_device import TorchDevice
from engines.simulated.device import ModelledDevice, VirtualClock
from engines.simulated.profile import load_profile
from engines.terms import Slo, Terms
from tests.engines.core.bench import NEWER_POLICIES
from tests.engines.embedded.devices.decoding import Sequence, device_for, generate
from tests.engines.embedded.devices.test_every_combination import (
    BLOCK_SIZE,
    DECODER,
    KV_TOKENS,
    NUM_CONVERSATIONS,
    prompt_of,
)

A10 = load_profile("a10-llama3-8b")
STEP_S = 0.031  # of one sequence there
SLOS = (
    Slo(ttft_s=2 * STEP_S, tbt_s=1.5 * STEP_S, tbt_percentile=0.8, max_gap_s=6 * STEP_S),
    Slo(ttft_s=10 * STEP_S, tbt_s=4 * STEP_S, tbt_percentile=0.8),
    None,
)
# The bench's are for steps of 10 ms.
ALL: dict[str, PolicySettings] = {
    "fcfs": POLICIES["fcfs"](),
    "priority": POLICIES["priority"](),
    **NEWER_POLICIES,
    "mlfq": POLICIES["mlfq"](quantum_s=0.03, promote_after_s=1.0, renew_every=2),
    "dlpm": POLICIES["dlpm"](quantum=8.0, renew_every=2),
    "slo": POLICIES["slo"](max_wait_s=0.4, quantum=3, margin_s=0.1, exchange=9.0, renew_every=2),
}
Schedule = list[tuple[float, list[tuple[str, int, int]]]]


class Clock(VirtualClock):
    """Nothing is late in virtual time, whatever the real device took."""

    def note_missed(self, late_s: float) -> None: ...


class AtOnce:
    """A real device whose copies are over when they are asked for: how long they really take must
    decide nothing here."""

    def __init__(self, device: TorchDevice) -> None:
        self.block_size = device.block_size
        self.num_device_blocks = device.num_device_blocks
        self.num_host_blocks = device.num_host_blocks
        self.execute = device.execute
        self.close = device.close
        self._device = device

    def transfer(self, direction: Direction, runs: Several[BlockRun]) -> Transfer:
        transfer = self._device.transfer(direction, runs)
        transfer.wait()
        return transfer


class Listening:
    """A device, and what it was asked to compute when."""

    def __init__(self, device: Device, clock: Clock) -> None:
        self.block_size = device.block_size
        self.num_device_blocks = device.num_device_blocks
        self.num_host_blocks = device.num_host_blocks
        self.transfer = device.transfer
        self.close = device.close
        self.schedule: Schedule = []
        self._device = device
        self._clock = clock

    def execute(self, batch: Batch) -> list[int | None]:
        chunks = [(each.request_id, each.start, len(each.token_ids)) for each in batch.chunks]
        self.schedule.append((self._clock.now(), chunks))
        return self._device.execute(batch)


def core_of(policy: PolicySettings, preset: str) -> CoreSettings:
    return CoreSettings(
        mechanisms=replace(PRESETS[preset], policy=policy),
        block_size=BLOCK_SIZE,
        kv_tokens=KV_TOKENS,
        swap_tokens=192,
        max_batch_tokens=16,
        max_num_seqs=4,
        group_tokens=16,
    )


def modelled(core: CoreSettings, clock: Clock) -> ModelledDevice:
    return ModelledDevice(
        A10,
        clock,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        layout=core.mechanisms.layout,
        copy=core.mechanisms.copy,
    )


def on_torch(core: CoreSettings, clock: Clock) -> PacedDevice:
    torch_device = TorchDevice(
        DECODER,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        copy=core.mechanisms.copy,
        layout=core.mechanisms.layout,
        num_copy_threads=1,
    )
    return PacedDevice(AtOnce(torch_device), modelled(core, clock), clock)  # type: ignore[arg-type]


def num_tokens_of(conversation: int) -> int:
    return 13 - 2 * conversation  # those who come later have less to do


@cache
def undisturbed() -> dict[str, list[int]]:
    """Returns each turn's answer, computed alone, in one piece."""
    answers = {}
    for conversation in range(NUM_CONVERSATIONS):
        history: list[int] = []
        for turn in range(2):
            prompt = history + prompt_of(conversation, turn)
            alone = Sequence(token_ids=prompt, block_table=[*range(16)])
            answer = generate(device_for(DECODER), alone, num_tokens_of(conversation))
            answers[f"c{conversation}/{turn}"] = answer
            history = prompt + answer
    return answers


def request_of(conversation: int, turn: int, history: list[int], now: float) -> Request:
    name = f"c{conversation}/{turn}"
    slo = SLOS[conversation % len(SLOS)]
    return Request(
        request_id=name,
        prompt_token_ids=history + prompt_of(conversation, turn),
        sampling=SamplingParams(max_tokens=num_tokens_of(conversation), ignore_eos=True),
        arrived_at=now,
        priority=(5 * conversation + turn) % 4,
        conversation_id=f"c{conversation}",
        terms=Terms(user_id=f"u{conversation % 4}", user_class=f"k{conversation % 2}", slo=slo),
    )


def played(
    core: CoreSettings, device: Listening, clock: Clock
) -> tuple[Schedule, dict[str, list[int]], int]:
    """Asks a turn of another conversation every third step, then their second turns, and returns
    the schedule, the answers, and how often somebody was preempted."""
    engine = Engine(core, device, clock=clock.now)
    answers: dict[str, list[int]] = {}
    histories: list[list[int]] = [[] for _ in range(NUM_CONVERSATIONS)]
    for turn in range(2):
        for conversation, history in enumerate(histories):
            if turn:  # the answers of this device, or their KV would not be found again
                history.extend(prompt_of(conversation, 0) + answers[f"c{conversation}/0"])
            engine.submit(request_of(conversation, turn, history, clock.now()))
            for _ in range(3):
                _step(engine, answers)
        while engine.has_work:
            _step(engine, answers)
    return device.schedule, answers, engine.stats.num_preemptions


def _step(engine: Engine, answers: dict[str, list[int]]) -> None:
    for output in engine.step() if engine.has_work else ():
        answers.setdefault(output.request_id, []).extend(output.token_ids)
    engine.check_integrity()


@pytest.mark.parametrize("preset", ["fastswitch", "recompute-prefix"])
@pytest.mark.parametrize("name", ALL)
def test_torch_and_the_model_in_virtual_time_schedule_alike_and_no_answer_changes(
    name: str, preset: str
) -> None:
    core = core_of(ALL[name], preset)
    clock, twin_clock = Clock(), Clock()
    with closing(on_torch(core, clock)) as device:
        schedule, answers, num_preemptions = played(core, Listening(device, clock), clock)
    twin = Listening(modelled(core, twin_clock), twin_clock)
    twin_schedule, _, twin_num_preemptions = played(core, twin, twin_clock)
    assert answers == undisturbed()
    assert schedule == twin_schedule
    assert num_preemptions == twin_num_preemptions
    if name != "fcfs":
        assert num_preemptions > 0, "nothing was put to the test"
