"""The digest of a whole schedule: every step with its instants, chunks and block tables, every
copy, every end. Two engines with the same digest did the same, call by call."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from engines.core.device import Batch, BlockRun, Direction
from engines.simulated.device import ModelledTransfer
from engines.simulated.settings import SimulatedSettings
from engines.simulated.virtual_engine import SimulatedEngine
from suite.playing.workload import priority_updates
from suite.records.turn_records import TurnRecord
from suite.virtual.player import VirtualPlayer
from workloads.plan import Plan


class _Listener:
    """A modelled device with somebody who writes down what it is asked."""

    def __init__(self, engine: SimulatedEngine) -> None:
        self._device = engine.engine._device
        self._now = engine.now
        self.digest = hashlib.sha256()
        self.num_steps = self.num_transfers = 0

    def execute(self, batch: Batch) -> list[int | None]:
        self.num_steps += 1
        self._note("step")
        for each in batch.chunks:
            tokens = (each.request_id, tuple(each.token_ids), each.start, each.output_index)
            self._note(*tokens, tuple(each.block_table), each.sampling is not None)
        return self._device.execute(batch)

    def transfer(self, direction: Direction, runs: Sequence[BlockRun]) -> ModelledTransfer:
        self.num_transfers += 1
        self._note(str(direction), [tuple(each) for each in runs])
        transfer = self._device.transfer(direction, runs)
        assert isinstance(transfer, ModelledTransfer)
        return transfer

    def ended(self, record: TurnRecord) -> None:
        self._note(record.conversation_id, record.turn, record.error, record.num_cached_tokens)

    def _note(self, *values: object) -> None:
        # In whole nanoseconds: another machine's pow may differ in a float's last bit.
        self.digest.update(repr((round(self._now() * 1e9), *values)).encode())


def schedule_digest(plan: Plan, settings: SimulatedSettings) -> tuple[str, int, int]:
    """Plays the plan and returns the digest of its schedule, and how many steps and copies that
    had."""
    engine = settings.virtual_engine(priority_updates(plan))
    listener = _Listener(engine)
    engine.engine._device = listener  # type: ignore[assignment]
    engine.engine._swapper._device = listener  # type: ignore[assignment]
    player = VirtualPlayer(plan, engine, turn_timeout_s=1e9, on_turn=listener.ended)
    while player.next_at is not None:
        player.advance()
    return listener.digest.hexdigest(), listener.num_steps, listener.num_transfers
