from __future__ import annotations

import socket
import struct
import time
from typing import Any

from suite.driver.clock import KernelClock
from suite.driver.connection import SO_TIMESTAMPNS


def test_a_stamp_is_converted_to_the_monotonic_instant() -> None:
    clock = KernelClock()
    before_ns = time.monotonic_ns()
    stamp_ns = time.time_ns()
    after_ns = time.monotonic_ns()
    at_ns = clock.to_monotonic_ns(stamp_ns, not_before_ns=0)
    # The offset is measured to about 0.1 µs; 0.1 ms leaves room for a preempted measurement.
    assert before_ns - 100_000 <= at_ns <= after_ns + 100_000


def test_a_stamp_from_before_its_cause_is_held_to_the_possible_span() -> None:
    clock = KernelClock()
    not_before_ns = time.monotonic_ns()
    for nonsense_ns in (0, time.time_ns() + 10**12):  # someone set the time meanwhile
        at_ns = clock.to_monotonic_ns(nonsense_ns, not_before_ns=not_before_ns)
        assert not_before_ns <= at_ns <= time.monotonic_ns()


def test_a_late_read_carries_the_instant_of_arrival() -> None:
    ours, theirs = connected_pair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        ancillary: list[Any] = []
        while not ancillary:  # the kernel begins to stamp with a short delay
            theirs.send(b"-")
            _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(16))
        before_ns = time.monotonic_ns()
        theirs.send(b"token")
        after_ns = time.monotonic_ns()
        time.sleep(0.1)
        _, ancillary, _, _ = ours.recvmsg(100, socket.CMSG_SPACE(16))
    [(level, kind, data)] = ancillary
    assert (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)
    seconds, nanoseconds = struct.unpack("@qq", data)
    stamp_ns = seconds * 10**9 + nanoseconds
    at_ns = KernelClock().to_monotonic_ns(stamp_ns, not_before_ns=before_ns)
    assert before_ns <= at_ns <= after_ns + 50_000_000  # not the 100 ms at which it was read


def connected_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    return ours, theirs
