"""A device that computes nothing and takes as long as a profile says, in virtual or real time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from engines.core.device import Batch, BlockRun, Direction, TransferStats
from engines.core.settings import Copy, Layout
from engines.simulated.constants import Profile
from engines.simulated.cost_model import CostModel
from engines.simulated.link_model import LinkModel, LinkTransfer
from engines.simulated.transfer_plan import TransferPlan

TOKEN_ID = 7  # what every sample comes to


class Clock(Protocol):
    """Modelled seconds: they pass where `advance_to` says, and not while Python computes."""

    def now(self) -> float: ...

    def advance_to(self, instant: float) -> None:
        """Returns at the instant, or at once when it has passed."""
        ...


class VirtualClock:
    """A clock that jumps: whoever plays moves it over the times in which nothing is asked."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    def now(self) -> float:
        return self._now

    def advance_to(self, instant: float) -> None:
        self._now = max(self._now, instant)


class ModelledTransfer:
    """Implements `engines.core.device.Transfer`."""

    def __init__(
        self, stats: TransferStats, on_link: LinkTransfer, link: LinkModel, clock: Clock
    ) -> None:
        self.stats = stats
        self._on_link = on_link
        self._link = link
        self._clock = clock

    @property
    def duration_s(self) -> float:
        assert self._on_link.ended_at is not None, (
            "asked for the duration of an unfinished transfer"
        )
        return self._on_link.ended_at - self._on_link.submitted_at

    @property
    def copying_s(self) -> float:
        assert self._on_link.ended_at is not None, (
            "asked for the duration of an unfinished transfer"
        )
        assert self._on_link.began_at is not None
        return self._on_link.ended_at - self._on_link.began_at

    def is_done(self) -> bool:
        now = self._clock.now()
        self._link.follow(now)
        return self._on_link.ended_at is not None and self._on_link.ended_at <= now

    def wait(self) -> None:
        self._clock.advance_to(self._link.run_until_done(self._on_link))


class ModelledDevice:
    """Implements `engines.core.device.Device`."""

    def __init__(
        self,
        profile: Profile,
        clock: Clock,
        *,
        block_size: int,
        num_device_blocks: int,
        num_host_blocks: int,
        layout: Layout,
        copy: Copy,
        num_copy_threads: int = 2,
    ) -> None:
        """Makes a device whose steps and copies take a modelled GPU's time. With 0 copy threads the
        engine's thread copies, and transfers are done on return."""
        self.block_size = block_size
        self.num_device_blocks = num_device_blocks
        self.num_host_blocks = num_host_blocks
        self._clock = clock
        self._cost = CostModel(profile)
        self._link = LinkModel(profile.link)
        self._plan = TransferPlan(profile, block_size=block_size, layout=layout, copy=copy)
        self._is_copying_itself = num_copy_threads == 0

    def execute(self, batch: Batch) -> list[int | None]:
        """Lets the clock go on by the step's time, as `Device.execute` says; every sample is
        TOKEN_ID."""
        self._clock.advance_to(self._clock.now() + self._cost.execute_s(batch))
        return [None if chunk.sampling is None else TOKEN_ID for chunk in batch.chunks]

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> ModelledTransfer:
        """Queues copies, as `Device.transfer` says."""
        stats = self._plan.stats(runs)
        on_link = self._link.submit(
            direction,
            calls_s=self._plan.calls_s(direction, runs),
            num_bytes=self._plan.link_bytes(stats),
            at=self._clock.now(),
        )
        transfer = ModelledTransfer(stats, on_link, self._link, self._clock)
        if self._is_copying_itself:
            transfer.wait()
        return transfer

    def close(self) -> None: ...
