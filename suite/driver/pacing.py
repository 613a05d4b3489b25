"""Waiting for a planned instant, to a tenth of a millisecond."""

from __future__ import annotations

import asyncio
import time

# uvloop's timers have whole milliseconds and fire up to 1.3 ms early or late.
SPIN_NS = 1_500_000


async def sleep_until(at_ns: int) -> None:
    """A timer until shortly before, then yielding turns of the loop. At once if `at_ns` is past."""
    while at_ns - time.monotonic_ns() > SPIN_NS:
        await sleep_roughly_until(at_ns - SPIN_NS)
    while time.monotonic_ns() < at_ns:
        await asyncio.sleep(0)


async def sleep_roughly_until(at_ns: int) -> None:
    """Sleeps by a timer alone, for preparations: most of a turn's cost is turns of the loop."""
    remaining_ns = at_ns - time.monotonic_ns()
    if remaining_ns > 0:
        await asyncio.sleep(remaining_ns / 1e9)
