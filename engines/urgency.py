"""A claim on the processor, for those who must run when their instant has come: the load driver
beside a busy engine, and an engine that stands for another machine's times.

Both sleep most of the time and need far less than a core; the kernel keeps 5 % of each for others.
"""

from __future__ import annotations

import os
from enum import IntEnum
from typing import Literal

Urgency = Literal["real-time", "raised", "normal"]


class Claimant(IntEnum):
    """Who goes before whom: what measures before what is measured."""

    PACED_ENGINE = 1
    DRIVER = 2


def claim_urgency(claimant: Claimant) -> Urgency:
    """Takes the most that this process is allowed, for the calling thread and those it starts from
    now on, and returns what that was.

    Real-time (round robin) needs CAP_SYS_NICE or `ulimit -r`: with 1 both claimants are equals.
    """
    for priority in range(claimant, 0, -1):
        try:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(priority))
        except (OSError, AttributeError):
            continue
        return "real-time"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, -5 - 5 * claimant)
    except OSError:
        return "normal"
    return "raised"
