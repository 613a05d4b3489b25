"""Who claims the processor, on a kernel that grants as much as a test says."""

from __future__ import annotations

import os

import pytest

from engines.urgency import Claimant, claim_urgency


class Kernel:
    """Grants real-time priorities up to one, and niceness down to another."""

    def __init__(self, highest: int, lowest_niceness: int = 0) -> None:
        self.highest, self.lowest_niceness = highest, lowest_niceness
        self.priority = self.niceness = 0

    def schedule(self, pid: int, policy: int, param: os.sched_param) -> None:
        if param.sched_priority > self.highest:
            raise PermissionError
        self.priority = param.sched_priority

    def set_niceness(self, which: int, who: int, niceness: int) -> None:
        if niceness < self.lowest_niceness:
            raise PermissionError
        self.niceness = niceness


@pytest.mark.parametrize(
    ("kernel", "claimant", "got", "priority_and_niceness"),
    [
        (Kernel(99), Claimant.DRIVER, "real-time", (2, 0)),
        (Kernel(99), Claimant.PACED_ENGINE, "real-time", (1, 0)),
        (Kernel(1), Claimant.DRIVER, "real-time", (1, 0)),
        (Kernel(0, -20), Claimant.DRIVER, "raised", (0, -15)),
        (Kernel(0, -20), Claimant.PACED_ENGINE, "raised", (0, -10)),
        (Kernel(0), Claimant.DRIVER, "normal", (0, 0)),
    ],
)
def test_the_driver_goes_before_the_engine_as_far_as_the_kernel_grants_it(
    monkeypatch: pytest.MonkeyPatch,
    kernel: Kernel,
    claimant: Claimant,
    got: str,
    priority_and_niceness: tuple[int, int],
) -> None:
    monkeypatch.setattr(os, "sched_setscheduler", kernel.schedule)
    monkeypatch.setattr(os, "setpriority", kernel.set_niceness)
    assert claim_urgency(claimant) == got
    assert (kernel.priority, kernel.niceness) == priority_and_niceness
