"""The driver's claim on the processor: it must run when its instant has come, also on a machine
that its engine keeps busy."""

from __future__ import annotations

import os
from typing import Literal

Urgency = Literal["real-time", "raised", "normal"]
_NICENESS = -15


def claim_urgency() -> Urgency:
    """The most this process is allowed, for the calling thread and those it starts from now on.

    Real-time (round robin, the lowest such priority) needs CAP_SYS_NICE or `ulimit -r 1`; the
    kernel keeps 5 % of each core for the others, and the driver needs far less than a core.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (OSError, AttributeError):
        pass
    else:
        return "real-time"
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _NICENESS)
    except OSError:
        return "normal"
    return "raised"
