"""One shop played by one policy: the subject's whole public face, with `policies.py`."""

from __future__ import annotations

from time import perf_counter

from engines.jobshop.policy import Policy
from engines.jobshop.problem import Shop, build_shop
from engines.jobshop.record import ScheduleRecord, record_of
from engines.jobshop.state import new_state


def play(shop: Shop, policy: Policy, seed: int) -> ScheduleRecord:
    """Returns what became of the shop. Same shop, policy and seed: the same schedule; only
    `decision_s` is the clock's."""
    state = new_state(shop)
    begun = perf_counter()
    policy.play(shop, state, seed)
    return record_of(shop, state, perf_counter() - begun)


def warm_up(policy: Policy) -> None:
    """Lets compilers and caches do their first work, so that no decision's time has it."""
    shop = build_shop([[0, 1], [1, 0], [0, 1]], [[2, 3], [4, 1], [2, 2]])
    play(shop, policy, seed=0)
