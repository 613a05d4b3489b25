"""The engine core on a modelled device and a virtual clock: stepped, not served."""

from __future__ import annotations

from pathlib import Path

from engines.api import PriorityUpdates, VirtualRequest
from engines.core.engine import Engine
from engines.core.engine_logs import EngineLogs
from engines.core.request import Request, RequestOutput
from engines.core.sampling_params import SamplingParams
from engines.core.settings import CoreEngineSettings
from engines.serving.engine_thread import POLL_S
from engines.simulated.constants import Profile
from engines.simulated.device import Clock, ModelledDevice, VirtualClock

STEPS_PER_BATCH = 1024  # of the logs; virtual steps come by the thousand a second


class SimulatedEngine:
    """Implements `engines.api.VirtualEngine`. Its bookkeeping takes no virtual time: what an engine
    spends around a step is in the profile."""

    def __init__(
        self,
        settings: CoreEngineSettings,
        profile: Profile,
        *,
        priorities: PriorityUpdates | None,
        log_directory: Path | None,
        max_virtual_time_s: float | None,
        max_wall_time_s: float | None,
    ) -> None:
        """Makes an engine on a modelled device at virtual time 0; `log_directory` gets its logs.
        Raises EngineInputError."""
        self.max_virtual_time_s = max_virtual_time_s
        self.max_wall_time_s = max_wall_time_s
        self._clock = VirtualClock()
        logs = EngineLogs(log_directory, steps_per_batch=STEPS_PER_BATCH) if log_directory else None
        self._logs = logs
        self.engine = Engine(
            settings.core(),
            modelled_device(settings, profile, self._clock),
            clock=self._clock.now,
            priorities=priorities,
            on_step=logs.step if logs else None,
            on_request=logs.request if logs else None,
            on_transfer=logs.transfer if logs else None,
        )
        self.now = self._clock.now

    @property
    def has_work(self) -> bool:
        return self.engine.has_work

    def submit(self, request: VirtualRequest) -> None:
        self.engine.submit(
            Request(
                request_id=request.request_id,
                prompt_token_ids=request.prompt_token_ids,
                sampling=SamplingParams(max_tokens=request.num_output_tokens, ignore_eos=True),
                arrived_at=request.arrived_at,
                priority=request.priority,
                conversation_id=request.conversation_id,
                terms=request.terms,
            )
        )

    def abort(self, request_id: str) -> None:
        self.engine.abort(request_id)

    def step(self) -> list[RequestOutput]:
        return self.engine.step()

    def idle_until(self, instant: float) -> None:
        """Lets time pass; transfers under way are looked after as often as the engine's thread does
        it."""
        while self.engine.has_flights and self._clock.now() < instant:
            self._clock.advance_to(min(self._clock.now() + POLL_S, instant))
            self.engine.poll()
        self._clock.advance_to(instant)

    def close(self) -> None:
        if self._logs is not None:
            self._logs.close()


def modelled_device(settings: CoreEngineSettings, profile: Profile, clock: Clock) -> ModelledDevice:
    """Returns a device with the pools of `settings` and the GPU of `profile`."""
    core = settings.core()
    return ModelledDevice(
        profile,
        clock,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        layout=core.mechanisms.layout,
        copy=core.mechanisms.copy,
        num_copy_threads=settings.num_copy_threads or 0,
    )
