from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core.device import Direction, TransferError, TransferStats
from engines.embedded.devices.copy_queue import Batch, CopyQueue, QueuedTransfer

OUT, IN = Direction.SWAP_OUT, Direction.SWAP_IN
STATS = TransferStats(num_copies=1, num_bytes=1)
NUM_THREADS = pytest.mark.parametrize("num_threads", [0, 1, 2])


class HandClock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def queue_of(num_threads: int, clock: Callable[[], float] = lambda: 0.0) -> CopyQueue:
    return CopyQueue(num_threads, clock=clock)


def submit(queue: CopyQueue, direction: Direction, *batches: Batch) -> QueuedTransfer:
    return queue.submit(direction, STATS, batches)


class Gate:
    """A batch that says when it runs, and goes on when it is told to."""

    def __init__(self) -> None:
        self.is_running = threading.Event()
        self.may_go = threading.Event()

    def __call__(self) -> None:
        self.is_running.set()
        assert self.may_go.wait(timeout=240)


def fail() -> None:
    raise OSError("the link is gone")


@settings(max_examples=40)
@given(
    num_threads=st.integers(0, 4),
    transfers=st.lists(st.tuples(st.sampled_from([OUT, IN]), st.integers(1, 5)), max_size=12),
)
def test_every_batch_runs_once_and_each_direction_is_a_queue(
    num_threads: int, transfers: list[tuple[Direction, int]]
) -> None:
    log: list[tuple[str, int, int]] = []  # list.append is atomic

    def batch(transfer: int, index: int) -> Batch:
        def run() -> None:
            log.append(("begin", transfer, index))
            log.append(("end", transfer, index))

        return run

    with closing(queue_of(num_threads)) as queue:
        submitted = [
            submit(queue, direction, *(batch(i, k) for k in range(num_batches)))
            for i, (direction, num_batches) in enumerate(transfers)
        ]
        for transfer in submitted:
            transfer.wait()
            assert transfer.is_done()
    assert sorted(log) == sorted(
        (what, i, k)
        for what in ("begin", "end")
        for i, (_, num_batches) in enumerate(transfers)
        for k in range(num_batches)
    )
    for direction in (OUT, IN):
        order = [i for _, i, _ in log if transfers[i][0] is direction]
        assert order == sorted(order)


def test_whoever_submits_copies_when_there_are_no_threads() -> None:
    ran_in = []
    transfer = submit(queue_of(0), OUT, lambda: ran_in.append(threading.current_thread()))
    assert ran_in == [threading.current_thread()]
    assert transfer.is_done()


def test_is_done_does_not_wait_for_a_copy_under_way() -> None:
    gate = Gate()
    with closing(queue_of(1)) as queue:
        transfer = submit(queue, OUT, gate)
        assert gate.is_running.wait(timeout=240)
        assert not transfer.is_done()
        gate.may_go.set()
        transfer.wait()
        assert transfer.is_done()


def meet(num: int) -> Iterator[Batch]:
    """Batches that return only if all of them run at the same time."""
    barrier = threading.Barrier(num)
    for _ in range(num):
        yield lambda: barrier.wait(timeout=240) and None


def test_both_directions_copy_at_the_same_time() -> None:
    one, other = meet(2)
    with closing(queue_of(2)) as queue:
        first, second = submit(queue, OUT, one), submit(queue, IN, other)
        first.wait()
        second.wait()


def test_the_batches_of_a_transfer_are_shared_by_the_threads() -> None:
    with closing(queue_of(3)) as queue:
        submit(queue, OUT, *meet(3)).wait()


def test_one_thread_serves_the_directions_turn_about() -> None:
    gate, order = Gate(), []
    with closing(queue_of(1)) as queue:
        submit(queue, OUT, gate, *[lambda: order.append(OUT)] * 3)
        assert gate.is_running.wait(timeout=240)
        swap_in = submit(queue, IN, *[lambda: order.append(IN)] * 2)
        gate.may_go.set()
        swap_in.wait()
    assert order == [IN, OUT, IN, OUT, OUT]


def test_durations_tell_queueing_from_copying() -> None:
    clock, gate = HandClock(), Gate()
    with closing(queue_of(1, clock)) as queue:
        first = submit(queue, OUT, gate)
        assert gate.is_running.wait(timeout=240)
        clock.now = 1.0
        second = submit(queue, OUT, lambda: setattr(clock, "now", 5.0))
        with pytest.raises(AssertionError, match="unfinished"):
            _ = second.duration_s
        clock.now = 3.0
        gate.may_go.set()
        second.wait()
    assert (first.duration_s, first.copying_s) == (3.0, 3.0)
    assert (second.duration_s, second.copying_s) == (4.0, 2.0)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_failed_copy_is_raised_wherever_one_looks_and_breaks_the_queue(num_threads: int) -> None:
    gate = Gate()
    with closing(queue_of(num_threads)) as queue:
        finished = submit(queue, OUT, lambda: None)
        finished.wait()
        failing = submit(queue, IN, gate, fail)
        behind = submit(queue, IN, lambda: None)
        gate.may_go.set()
        for look in (failing.wait, behind.wait, failing.is_done, behind.is_done):
            with pytest.raises(TransferError, match="the link is gone") as raised:
                look()
            assert isinstance(raised.value.__cause__, OSError)
        for direction in (OUT, IN):
            with pytest.raises(TransferError, match="the link is gone"):
                submit(queue, direction, lambda: None)
        assert finished.is_done()


def test_a_copy_that_fails_where_it_is_submitted_is_raised_there_and_later() -> None:
    queue = queue_of(0)
    for batch in (fail, lambda: None):
        with pytest.raises(TransferError, match="the link is gone"):
            submit(queue, OUT, batch)


def test_a_thread_that_cannot_be_set_up_breaks_the_queue() -> None:
    with (
        closing(CopyQueue(1, clock=lambda: 0.0, set_up_thread=fail)) as queue,
        pytest.raises(TransferError, match="the link is gone"),
    ):
        submit(queue, OUT, lambda: None)


@NUM_THREADS
def test_closing_finishes_what_is_queued_and_ends_the_threads(num_threads: int) -> None:
    before = threading.active_count()
    queue = queue_of(num_threads)
    ran = []
    transfers = [submit(queue, OUT, lambda: ran.append(1)) for _ in range(20)]
    queue.close()
    queue.close()
    assert len(ran) == 20
    assert all(transfer.is_done() for transfer in transfers)
    assert threading.active_count() == before
    with pytest.raises(AssertionError, match="closed"):
        submit(queue, OUT, lambda: None)
