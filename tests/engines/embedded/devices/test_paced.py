"""A real device at a modelled one's pace, on a real clock that a test moves: nothing waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from engines.api import PriorityUpdates
from engines.core.device import Batch, BlockRun, Direction, TransferError
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, CoreSettings
from engines.core.step_log import StepRecord
from engines.core.transfer_log import TransferRecord
from engines.embedded.devices.paced import PacedDevice
from engines.simulated.cost_model import CostModel
from engines.simulated.device import ModelledDevice
from engines.simulated.paced_engine import MAX_CARRIED_S, PacedClock, PacedEngine
from engines.simulated.profile import load_profile
from tests.engines.core.async_memory_device import AsyncMemoryDevice
from tests.engines.core.bench import core_settings, prompt_of
from tests.engines.core.memory_device import undisturbed

A10 = load_profile("a10-llama3-8b")
KV_BYTES_PER_TOKEN = 131_072  # of Llama-3-8B in bfloat16
OUT, IN = Direction.SWAP_OUT, Direction.SWAP_IN
FAST_S, SLOW_S = 1e-4, 0.5  # a step of a machine that keeps an A10's pace, and of one that does not


class Machine(AsyncMemoryDevice):
    """The real side: time passes while it computes, and for who sleeps."""

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


class Paced:
    """An engine on a memory device that keeps an A10's pace, and what it said."""

    def __init__(
        self,
        preset: str,
        *,
        step_s: float = FAST_S,
        seconds_per_copy: float = 1e-6,
        priorities: PriorityUpdates | None = None,
    ) -> None:
        core = core_settings(PRESETS[preset])
        reuse = core.mechanisms.reuse
        stays = {"host_copy": {OUT}, "prefix": {IN}}.get(reuse, set(Direction))
        self.machine = Machine(
            block_size=core.block_size,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            step_s=step_s,
            seconds_per_copy=seconds_per_copy,
            bandwidth_bytes_per_s=1e9,
            poisons=stays,
        )
        self.clock = PacedClock(self.machine.clock, self.machine.sleep)
        self.device = PacedDevice(self.machine, modelled(core, self.clock), self.clock)
        self.steps: list[StepRecord] = []
        self.transfers: list[TransferRecord] = []
        self.engine = PacedEngine(
            core,
            self.device,
            clock=self.clock,
            priorities=priorities,
            on_step=self.steps.append,
            on_transfer=self.transfers.append,
        )

    def ask(self, conversation: str, turn: int, prompt: list[int], num_tokens: int) -> None:
        self.engine.submit(
            Request(
                request_id=f"{conversation}-{turn}",
                prompt_token_ids=list(prompt),
                sampling=SamplingParams(max_tokens=num_tokens, ignore_eos=True),
                arrived_at=self.machine.now,
                conversation_id=conversation,
            )
        )

    def answers(self) -> dict[str, list[int]]:
        tokens: dict[str, list[int]] = {}
        while self.engine.has_work:
            for output in self.engine.step():
                tokens.setdefault(output.request_id, []).extend(output.token_ids)
            self.engine.check_integrity()
        return tokens


def modelled(core: CoreSettings, clock: PacedClock) -> ModelledDevice:
    return ModelledDevice(
        A10,
        clock,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        layout=core.mechanisms.layout,
        copy=core.mechanisms.copy,
        num_copy_threads=0 if core.mechanisms.swap == "sync" else 2,
    )


def priorities_of(levels: list[list[int]], names: list[str]) -> PriorityUpdates:
    import numpy as np

    return PriorityUpdates(
        update_frequency=0.5,
        conversation_ids=names,
        levels=np.array(levels, dtype=np.uint8),
    )


@examples(max_examples=40, deadline=None)
@given(
    preset=st.sampled_from(sorted(PRESETS)),
    step_s=st.sampled_from([FAST_S, SLOW_S]),
    seconds_per_copy=st.sampled_from([1e-6, 0.2]),
    levels=st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=8, max_size=8),
)
def test_paced_tokens_are_those_of_an_undisturbed_run_whatever_the_machine(
    preset: str, step_s: float, seconds_per_copy: float, levels: list[list[int]]
) -> None:
    names = [f"c{i}" for i in range(6)]
    paced = Paced(
        preset,
        step_s=step_s,
        seconds_per_copy=seconds_per_copy,
        priorities=priorities_of(levels, names),
    )
    histories: dict[str, list[int]] = {name: [] for name in names}
    for turn in range(2):
        expected = {}
        for i, name in enumerate(names):
            prompt = histories[name] + prompt_of(10 * i + turn, 6 + i)
            paced.ask(name, turn, prompt, 7)
            expected[f"{name}-{turn}"] = undisturbed(prompt, 7)
            histories[name] = prompt + expected[f"{name}-{turn}"]
        assert paced.answers() == expected
    assert paced.engine.stats.num_preemptions > 0


@pytest.mark.parametrize("preset", ["vllm-0.3", "fastswitch"])
def test_a_step_lasts_as_long_as_the_cost_model_says_on_both_clocks(preset: str) -> None:
    paced = Paced(preset)
    for i in range(3):
        paced.ask(f"c{i}", 0, prompt_of(i, 5 + i), 4)
    paced.answers()
    cost = CostModel(A10)
    expected = [cost.execute_s(batch) for batch in paced.machine.batches]
    assert [step.execute_s for step in paced.steps] == pytest.approx(expected)
    assert paced.machine.now == pytest.approx(paced.clock.now())
    assert {step.pace_missed_s for step in paced.steps} == {0.0}


def test_a_slow_machine_s_step_takes_what_it_really_took_and_the_log_says_by_how_much() -> None:
    paced = Paced("fastswitch", step_s=SLOW_S)
    paced.ask("c", 0, prompt_of(0, 9), 5)
    paced.answers()
    real_s = paced.machine.now
    assert real_s == pytest.approx(5 * SLOW_S)
    assert paced.clock.now() == pytest.approx(real_s - MAX_CARRIED_S)
    modelled_s = [CostModel(A10).execute_s(batch) for batch in paced.machine.batches]
    missed = [step.pace_missed_s for step in paced.steps]
    assert missed[0] == pytest.approx(SLOW_S - modelled_s[0])
    # what was carried over is made up for, or missed again
    later = [SLOW_S + MAX_CARRIED_S - each for each in modelled_s[1:]]
    assert missed[1:] == pytest.approx(later)


@pytest.mark.parametrize("preset", ["vllm-0.3", "fastswitch"])
def test_copies_are_charged_as_the_modelled_model_s_blocks(preset: str) -> None:
    paced = Paced(preset, priorities=priorities_of([[0, 1], [1, 0]] * 4, ["a", "b"]))
    paced.ask("a", 0, prompt_of(1, 30), 20)
    paced.ask("b", 0, prompt_of(2, 30), 20)
    paced.answers()
    assert paced.transfers
    link = A10.link
    rates = {OUT: link.swap_out_bytes_per_s.value, IN: link.swap_in_bytes_per_s.value}
    for each in paced.transfers:
        assert each.num_bytes == each.num_blocks * 4 * KV_BYTES_PER_TOKEN
        alone_s = each.num_copies * link.copy_s.value + each.num_bytes / rates[each.direction]
        assert each.copied_at - each.copying_at >= alone_s * (1 - 1e-9)
    assert sum(step.num_copied_bytes for step in paced.steps) >= sum(
        each.num_bytes for each in paced.transfers
    )


def device_with(machine: Machine) -> tuple[PacedDevice, PacedClock]:
    clock = PacedClock(machine.clock, machine.sleep)
    core = core_settings(PRESETS["fastswitch"])
    return PacedDevice(machine, modelled(core, clock), clock), clock


def machine_of(**changes: float) -> Machine:
    return Machine(block_size=4, num_device_blocks=16, num_host_blocks=64, **changes)


def test_a_copy_is_done_when_both_are_and_waiting_sleeps_for_the_rest() -> None:
    machine = machine_of(seconds_per_copy=1e-6, bandwidth_bytes_per_s=1e9)
    device, clock = device_with(machine)
    transfer = device.transfer(OUT, [BlockRun(0, 0, 8)])
    machine.now += 1e-4  # the real copy is there, the modelled one is not
    assert not transfer.is_done()
    transfer.wait()
    assert transfer.is_done()
    assert machine.now == clock.now() == pytest.approx(transfer.duration_s)
    assert transfer.stats.num_bytes == 8 * 4 * KV_BYTES_PER_TOKEN
    assert clock.take_missed_s() == 0.0


def test_a_real_copy_that_is_late_holds_back_the_modelled_one_and_is_noted() -> None:
    machine = machine_of(seconds_per_copy=10.0)
    device, clock = device_with(machine)
    transfer = device.transfer(OUT, [BlockRun(0, 0, 8)])
    clock.jump_to(1.0)
    assert not transfer.is_done()
    machine.now = 11.0
    clock.jump_to(11.0)
    assert transfer.is_done()
    assert clock.take_missed_s() == pytest.approx(10.0)
    assert clock.take_missed_s() == 0.0


def test_a_failed_copy_is_raised_through_the_pace() -> None:
    machine = machine_of()
    device, _ = device_with(machine)
    transfer = device.transfer(OUT, [BlockRun(0, 0, 8)])
    machine.fault = OSError("gone")
    for look in (transfer.is_done, transfer.wait, lambda: device.transfer(IN, [BlockRun(9, 9, 1)])):
        with pytest.raises(TransferError, match="gone"):
            look()


def test_a_paced_device_has_the_sizes_of_the_real_one_and_ends_with_it() -> None:
    machine = machine_of()
    device, _ = device_with(machine)
    assert (device.block_size, device.num_device_blocks, device.num_host_blocks) == (4, 16, 64)
    assert device.execute(Batch(chunks=[])) == machine.execute(Batch(chunks=[]))
    device.close()
