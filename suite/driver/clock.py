"""Instants on CLOCK_MONOTONIC, in integer nanoseconds, also for what the kernel stamped.

The kernel stamps a segment with CLOCK_REALTIME when it arrives. Both clocks are slewed alike, so
their offset only changes when someone sets the time; it is measured again every 100 ms, and at
once when a stamp makes no sense.
"""

from __future__ import annotations

import time

OFFSET_INTERVAL_NS = 100_000_000
_NUM_PROBES = 5


class KernelClock:
    def __init__(self) -> None:
        self._offset_ns = 0
        self._measured_at_ns = 0
        self.measure_offset()

    def measure_offset(self) -> None:
        """Sets realtime minus monotonic, from the tightest of a few bracketed readings."""
        tightest_ns = None
        for _ in range(_NUM_PROBES):
            before_ns = time.monotonic_ns()
            realtime_ns = time.time_ns()
            after_ns = time.monotonic_ns()
            if tightest_ns is None or after_ns - before_ns < tightest_ns:
                tightest_ns = after_ns - before_ns
                self._offset_ns = realtime_ns - (before_ns + after_ns) // 2
        self._measured_at_ns = time.monotonic_ns()

    def to_monotonic_ns(self, stamp_ns: int, *, not_before_ns: int) -> int:
        """A kernel stamp just read. What it stamped happened after `not_before_ns` and before now;
        a stamp outside (the time was set meanwhile) is converted again, then held to that span."""
        now_ns = time.monotonic_ns()
        if now_ns - self._measured_at_ns > OFFSET_INTERVAL_NS:
            self.measure_offset()
        at_ns = stamp_ns - self._offset_ns
        if not_before_ns <= at_ns <= now_ns:
            return at_ns
        self.measure_offset()
        return min(max(stamp_ns - self._offset_ns, not_before_ns), now_ns)
