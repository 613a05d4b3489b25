"""Wait for a swap-in, or go on without it: FastSwitch's adaptive choice, per swap-in.

[R] Its inputs are priority, running batch and recent swaps; when few short requests run, waiting
and running a larger batch can win. The rule here is our own: waiting costs every running request
the time of the transfer; going on costs the newcomer what is left of a step after its arrival,
half a step in the mean. A newcomer more urgent than all who run counts for two.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The engine's state in which a swap-in is waited for, or not."""

    num_running: int
    transfer_s: float  # expected, from recent transfers
    step_s: float  # recent steps of the model
    is_most_urgent: bool


def always_wait(situation: Situation) -> bool:
    return True


def never_wait(situation: Situation) -> bool:
    return situation.num_running == 0  # there is nothing to go on with


def wait_when_cheaper(situation: Situation) -> bool:
    loss_of_waiting_s = situation.num_running * situation.transfer_s
    weight = 2.0 if situation.is_most_urgent else 1.0
    return loss_of_waiting_s <= weight * situation.step_s / 2


CHOICES = {"sync": always_wait, "async": never_wait, "adaptive": wait_when_cheaper}
