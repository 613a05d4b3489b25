from __future__ import annotations

import pytest

from engines.core.device import Direction, TransferError, TransferStats
from engines.embedded.devices.copy_queue import CopyQueue
from engines.embedded.devices.event_transfer import Event, EventTransfer, Marks

STATS = TransferStats(num_copies=3, num_bytes=30)


class ScriptedEvent:
    def __init__(self, at_ms: float, *, failure: str | None = None) -> None:
        self.at_ms = at_ms
        self.has_come = False
        self._failure = failure

    def query(self) -> bool:
        if self._failure is not None:
            raise RuntimeError(self._failure)
        return self.has_come

    def synchronize(self) -> None:
        self.query()
        self.has_come = True

    def elapsed_time(self, end_event: Event, /) -> float:
        assert isinstance(end_event, ScriptedEvent)
        return end_event.at_ms - self.at_ms


def transfer_of(ended: ScriptedEvent) -> EventTransfer:
    queue = CopyQueue(0, clock=lambda: 0.0)
    queued = queue.submit(Direction.SWAP_OUT, STATS, [lambda: None])
    marks = Marks(submitted=ScriptedEvent(2.0), began=ScriptedEvent(5.0), ended=ended)
    return EventTransfer(queued, marks)


def test_what_was_handed_over_is_done_when_its_event_has_come() -> None:
    transfer = transfer_of(ScriptedEvent(12.0))
    assert not transfer.is_done()
    transfer.wait()
    assert transfer.is_done()
    assert transfer.duration_s == pytest.approx(0.010)
    assert transfer.copying_s == pytest.approx(0.007)
    assert transfer.stats == STATS


def test_what_fails_on_the_device_breaks_it_loudly() -> None:
    transfer = transfer_of(ScriptedEvent(1.0, failure="illegal address"))
    with pytest.raises(TransferError, match="illegal address"):
        transfer.is_done()
    with pytest.raises(TransferError, match="illegal address"):
        transfer.wait()
