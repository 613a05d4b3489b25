"""The engine core on a modelled device and a virtual clock: stepped, not served."""

from __future__ import annotations

from pathlib import Path

from engines.api import PriorityUpdates, VirtualRequest
from engines.core.engine import Engine
from engines.core.engine_logs import EngineLogs
from engines.core.request import Request, RequestOutput, SamplingParams
from engines.serving.engine_thread import POLL_S
from engines.simulated.device import Clock, ModelledDevice, VirtualClock
from engines.simulated.settings import SimulatedSettings

STEPS_PER_BATCH = 1024  # of the logs; virtual steps come by the thousand a second


class SimulatedEngine:
    """Implements `engines.api.VirtualEngine`. Its bookkeeping takes no virtual time: what an engine
    spends around a step is in the profile."""

    def __init__(
        self,
        settings: SimulatedSettings,
        *,
        priorities: PriorityUpdates | None,
        log_directory: Path | None = None,
    ) -> None:
        """Raises EngineInputError. `log_directory` gets the engine's logs."""
        self.max_virtual_time_s = settings.max_virtual_time_s
        self.max_wall_time_s = settings.max_wall_time_s
        self._clock = VirtualClock()
        logs = EngineLogs(log_directory, steps_per_batch=STEPS_PER_BATCH) if log_directory else None
        self._logs = logs
        self.engine = Engine(
            settings.core(),
            modelled_device(settings, self._clock),
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
            )
        )

    def abort(self, request_id: str) -> None:
        self.engine.abort(request_id)

    def step(self) -> list[RequestOutput]:
        return self.engine.step()

    def idle_until(self, instant: float) -> None:
        """Transfers under way are looked after as often as the engine's thread does it."""
        while self.engine.has_flights and self._clock.now() < instant:
            self._clock.advance_to(min(self._clock.now() + POLL_S, instant))
            self.engine.poll()
        self._clock.advance_to(instant)

    def close(self) -> None:
        if self._logs is not None:
            self._logs.close()


def modelled_device(settings: SimulatedSettings, clock: Clock) -> ModelledDevice:
    """Raises EngineInputError."""
    core = settings.core()
    return ModelledDevice(
        settings.loaded_profile(),
        clock,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        layout=core.mechanisms.layout,
        copy=core.mechanisms.copy,
        num_copy_threads=settings.num_copy_threads or 0,
    )
