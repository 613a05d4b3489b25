"""A transfer that a GPU works off by itself: queued by some thread, its end told by an event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from engines.core.device import Transfer, TransferError, TransferStats


class Event(Protocol):
    """What of `torch.cuda.Event` is used; it has no types."""

    def query(self) -> bool: ...

    def synchronize(self) -> None: ...

    def elapsed_time(self, end_event: Event, /) -> float:
        """Returns the milliseconds from this event to the other."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """Instants on the GPU's own clock."""

    submitted: Event
    began: Event
    ended: Event


class EventTransfer:
    """Implements `engines.core.device.Transfer`. Whoever waits sleeps until the event has come."""

    def __init__(self, queued: Transfer, marks: Marks) -> None:
        """`queued` is done when the last copy was handed over, and `marks.ended` behind it."""
        self._queued = queued
        self._marks = marks

    @property
    def stats(self) -> TransferStats:
        return self._queued.stats

    @property
    def duration_s(self) -> float:
        return self._marks.submitted.elapsed_time(self._marks.ended) / 1e3

    @property
    def copying_s(self) -> float:
        return self._marks.began.elapsed_time(self._marks.ended) / 1e3

    def is_done(self) -> bool:
        if not self._queued.is_done():
            return False
        try:
            return self._marks.ended.query()
        except RuntimeError as error:
            raise TransferError(f"a copy failed: {error}") from error

    def wait(self) -> None:
        self._queued.wait()
        try:
            self._marks.ended.synchronize()
        except RuntimeError as error:
            raise TransferError(f"a copy failed: {error}") from error
