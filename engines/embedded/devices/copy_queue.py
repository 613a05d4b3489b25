"""Transfers in flight: one queue a direction, worked off by a pool of threads.

A transfer is a list of batches, each a function that returns when its copies are made. Threads
take batches of the first transfer of either direction, turn about; the next transfer of a
direction begins when all batches of the one before have returned. Knows no torch.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence

from engines.core.device import Direction, TransferError, TransferStats

Batch = Callable[[], None]


class QueuedTransfer:
    """Implements `engines.core.device.Transfer`."""

    def __init__(
        self, queue: CopyQueue, stats: TransferStats, batches: Sequence[Batch], *, now: float
    ) -> None:
        self.stats = stats
        self._queue = queue
        self._submitted_at = now
        self._began_at: float | None = None
        self._ended_at: float | None = None
        self._unclaimed = deque(batches)
        self._num_unfinished = len(batches)

    @property
    def duration_s(self) -> float:
        assert self._ended_at is not None, "asked for the duration of an unfinished transfer"
        return self._ended_at - self._submitted_at

    @property
    def copying_s(self) -> float:
        assert self._ended_at is not None, "asked for the duration of an unfinished transfer"
        assert self._began_at is not None
        return self._ended_at - self._began_at

    def is_done(self) -> bool:
        if self._ended_at is None:
            self._queue.raise_failure()
        return self._ended_at is not None

    def wait(self) -> None:
        self._queue.wait(self)

    # What follows is the queue's, under its lock.

    def claim(self, now: float) -> Batch | None:
        if self._began_at is None:
            self._began_at = now
        return self._unclaimed.popleft() if self._unclaimed else None

    def finish_one(self, now: float) -> bool:
        """Counts a batch that has returned; returns True where it was the last."""
        self._num_unfinished -= 1
        if self._num_unfinished == 0:
            self._ended_at = now
        return self._ended_at is not None


class CopyQueue:
    def __init__(
        self,
        num_threads: int,
        *,
        clock: Callable[[], float],
        set_up_thread: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts the threads; with 0 of them whoever submits copies. `set_up_thread` has run in
        each thread on return."""
        self._clock = clock
        self._changed = threading.Condition()
        self._queues = {direction: deque[QueuedTransfer]() for direction in Direction}
        self._turns = deque(Direction)  # who is asked first for the next batch
        self._failure: BaseException | None = None
        self._is_closed = False
        is_set_up = threading.Barrier(num_threads + 1)
        self._threads = [
            threading.Thread(
                target=self._work,
                args=(set_up_thread, is_set_up),
                name=f"copy-{index}",
                daemon=True,
            )
            for index in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()
        is_set_up.wait()

    def submit(
        self, direction: Direction, stats: TransferStats, batches: Sequence[Batch]
    ) -> QueuedTransfer:
        """Raises TransferError: this copy (with 0 threads) or an earlier one has failed."""
        assert not self._is_closed, "a transfer was asked of a closed device"
        assert batches, "an empty transfer was asked for"
        self.raise_failure()
        transfer = QueuedTransfer(self, stats, batches, now=self._clock())
        with self._changed:
            self._queues[direction].append(transfer)
            self._changed.notify_all()
        if not self._threads:
            self._copy_here(transfer)
        return transfer

    def wait(self, transfer: QueuedTransfer) -> None:
        with self._changed:
            self._changed.wait_for(transfer.is_done)

    def raise_failure(self) -> None:
        if self._failure is not None:
            raise TransferError(f"a copy failed: {self._failure!r}") from self._failure

    def close(self) -> None:
        """Lets the threads finish what is queued, and joins them. May be called twice."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _copy_here(self, transfer: QueuedTransfer) -> None:
        while not transfer.is_done():
            claimed = self._claim()
            assert claimed is not None
            self._run(*claimed)

    def _work(self, set_up: Callable[[], None], is_set_up: threading.Barrier) -> None:
        try:
            set_up()
        except BaseException as failure:
            self._fail(failure)
        is_set_up.wait()
        while (claimed := self._next_claim()) is not None:
            self._run(*claimed)

    def _next_claim(self) -> tuple[Direction, Batch] | None:
        """Waits for a batch and returns it; None: the thread shall end."""
        with self._changed:
            while self._failure is None:
                claimed = self._claim()
                if claimed is not None:
                    return claimed
                if self._is_closed and not any(self._queues.values()):
                    return None
                self._changed.wait()
        return None

    def _claim(self) -> tuple[Direction, Batch] | None:
        for _ in range(len(self._turns)):
            direction = self._turns[0]
            self._turns.rotate()
            queue = self._queues[direction]
            batch = queue[0].claim(self._clock()) if queue else None
            if batch is not None:
                return direction, batch
        return None

    def _run(self, direction: Direction, batch: Batch) -> None:
        try:
            batch()
        except BaseException as failure:  # whatever it is, blocks are lost: nobody may go on
            self._fail(failure)
            return
        with self._changed:
            if self._queues[direction][0].finish_one(self._clock()):
                self._queues[direction].popleft()
                self._changed.notify_all()

    def _fail(self, failure: BaseException) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()
