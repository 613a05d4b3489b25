"""The schedule of a simulated run is that of the real engine: its thread, its queue, and a device
that computes on the KV it finds, with the same times for steps and transfers."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from engines.core.device import Batch, BlockRun, Direction
from engines.core.request import Request, RequestOutput
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, CoreEngineSettings
from engines.serving.engine_thread import EngineThread
from engines.simulated import virtual_engine
from engines.simulated.constants import Profile
from engines.simulated.device import Clock, ModelledDevice, ModelledTransfer
from engines.simulated.virtual_engine import SimulatedEngine, modelled_device
from suite.playing.workload import priority_updates
from suite.virtual.play import Script, play_virtually
from tests.engines.core.memory_device import MemoryDevice, undisturbed
from tests.suite.virtual.test_player import plan_of, settings_of
from workloads.plan import Plan

# (request, first position, tokens, blocks) of each chunk of each step
Schedule = list[list[tuple[str, int, int, tuple[int, ...]]]]


class OracleDevice(MemoryDevice):
    """Computes and moves for real, and takes the modelled time."""

    def __init__(self, modelled: ModelledDevice) -> None:
        super().__init__(
            block_size=modelled.block_size,
            num_device_blocks=modelled.num_device_blocks,
            num_host_blocks=modelled.num_host_blocks,
        )
        self._modelled = modelled
        self.schedule: Schedule = []

    def execute(self, batch: Batch) -> list[int | None]:
        self.schedule.append(_shown(batch))
        self._modelled.execute(batch)
        return super().execute(batch)

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> ModelledTransfer:  # type: ignore[override]
        super()._move(direction, runs, poisons_source=False)
        return self._modelled.transfer(direction, runs)

    def close(self) -> None: ...


class Recorded(ModelledDevice):
    schedule: Schedule

    def execute(self, batch: Batch) -> list[int | None]:
        self.schedule.append(_shown(batch))
        return super().execute(batch)


def _shown(batch: Batch) -> list[tuple[str, int, int, tuple[int, ...]]]:
    return [
        (each.request_id, each.start, len(each.token_ids), tuple(each.block_table))
        for each in batch.chunks
    ]


class RealSide:
    """Feeds an `EngineThread` at the boundaries of its steps, as the virtual player would."""

    def __init__(self, plan: Plan, engine: SimulatedEngine) -> None:
        self._plan = plan
        self._engine = engine
        self._due = [(each.start_at_s, k, 0) for k, each in enumerate(plan.conversations)]
        heapq.heapify(self._due)
        self._prompts: dict[str, list[int]] = {}
        self.answers: dict[str, list[int]] = {}
        self.has_ended = threading.Event()
        self.failure: BaseException | None = None
        self.thread = EngineThread(engine.engine, on_outputs=self._outputs, on_failure=self._failed)

    @property
    def num_preemptions(self) -> int:
        return self._engine.engine.stats.num_preemptions

    def play(self) -> None:
        self._feed()
        self.thread.start()
        assert self.has_ended.wait(240), "the engine's thread does not come to an end"
        self.thread.stop()
        if self.failure is not None:
            raise self.failure
        for name, prompt in self._prompts.items():
            assert self.answers[name] == undisturbed(prompt, len(self.answers[name]))

    def feed_after(self, device: OracleDevice) -> None:
        """Steps that give no token are boundaries too."""
        execute = device.execute

        def and_feed(batch: Batch) -> list[int | None]:
            token_ids = execute(batch)
            if all(token_id is None for token_id in token_ids):
                self._feed()
            return token_ids

        device.execute = and_feed  # type: ignore[method-assign]

    def _outputs(self, outputs: list[RequestOutput]) -> None:
        now = self._engine.now()
        for output in outputs:
            answer = self.answers.setdefault(output.request_id, [])
            answer += output.token_ids
            if output.finish_reason is not None:
                self._follow(output.request_id, now)
        if not self._engine.has_work:
            if not self._due:
                self.has_ended.set()
                return
            self._engine.idle_until(self._due[0][0])
        self._feed()

    def _follow(self, request_id: str, now: float) -> None:
        name, _, number = request_id.rpartition("/")
        index = next(
            k for k, each in enumerate(self._plan.conversations) if each.conversation_id == name
        )
        turns = self._plan.conversations[index].turns
        following = int(number) + 1
        if following < len(turns):
            heapq.heappush(self._due, (now + turns[following].think_time_s, index, following))

    def _feed(self) -> None:
        if not self._engine.has_work and self._due:
            self._engine.idle_until(self._due[0][0])
        while self._due and self._due[0][0] <= self._engine.now():
            due_at, index, number = heapq.heappop(self._due)
            conversation = self._plan.conversations[index]
            turn, name = conversation.turns[number], conversation.conversation_id
            before = f"{name}/{number - 1}"
            history = self._prompts[before] + self.answers[before] if number else []
            prompt = history + turn.new_prompt_token_ids.tolist()
            self._prompts[f"{name}/{number}"] = prompt
            self.thread.submit(
                Request(
                    request_id=f"{name}/{number}",
                    prompt_token_ids=list(prompt),
                    sampling=SamplingParams(max_tokens=turn.num_output_tokens, ignore_eos=True),
                    arrived_at=due_at,
                    conversation_id=name,
                )
            )

    def _failed(self, failure: BaseException) -> None:
        self.failure = failure
        self.has_ended.set()


@pytest.mark.parametrize("preset", PRESETS)
def test_the_simulated_schedule_is_the_real_engines(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(8, arrivals={"process": "poisson", "rate": 6.0})
    settings = settings_of(preset, kv_tokens=1024, swap_tokens=8192, max_batch_tokens=96)
    priorities = priority_updates(plan)
    simulated: Schedule = []

    def recorded(settings: CoreEngineSettings, profile: Profile, clock: Clock) -> ModelledDevice:
        device = modelled_device(settings, profile, clock)
        device.__class__ = Recorded
        device.schedule = simulated
        return device

    monkeypatch.setattr(virtual_engine, "modelled_device", recorded)
    engine = settings.virtual_engine(priorities)
    script = Script(plan=plan, directory=tmp_path, turn_timeout_s=1e9)
    assert play_virtually(script, engine).counts.failed == 0

    devices: list[OracleDevice] = []

    def oracle(settings: CoreEngineSettings, profile: Profile, clock: Clock) -> OracleDevice:
        devices.append(OracleDevice(modelled_device(settings, profile, clock)))
        return devices[0]

    monkeypatch.setattr(virtual_engine, "modelled_device", oracle)
    real = RealSide(plan, settings.virtual_engine(priorities))
    real.feed_after(devices[0])
    real.play()
    assert len(simulated) > 50 and real.num_preemptions > 0, "nobody had to give way"
    assert devices[0].schedule == simulated
