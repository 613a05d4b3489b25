"""Virtual token counters: users who always wait are served alike, whatever they ask."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core.policies.settings import POLICIES, PolicySettings
from tests.engines.core.policies.backlog import INPUT_WEIGHT, OUTPUT_WEIGHT, Backlog

SIZES = {"kv_tokens": 256, "swap_tokens": 2048, "max_batch_tokens": 24, "max_num_seqs": 8}
MAX_PROMPT = 20
QUANTUM, RENEW_EVERY = 16.0, 2
VTC = POLICIES["vtc"](quantum=QUANTUM, renew_every=RENEW_EVERY)
NUM_STEPS = 250

requests = st.lists(
    st.tuples(st.integers(1, MAX_PROMPT), st.integers(1, 60)), min_size=1, max_size=4
)


def furthest_apart(backlog: Backlog, num_steps: int = NUM_STEPS) -> float:
    """Returns the largest difference of service that two users ever came to."""
    furthest = 0.0
    for _ in range(num_steps):
        backlog.step()
        furthest = max(furthest, float(np.ptp(backlog.service())))
    return furthest


def bound() -> float:
    """What is served between two looks and while a displaced holder makes way, the quantum, and a
    prompt that comes in whole. Published, for a policy that displaces nobody: 2 · w_q · M."""
    step = INPUT_WEIGHT * SIZES["max_batch_tokens"] + OUTPUT_WEIGHT * SIZES["max_num_seqs"]
    return QUANTUM + INPUT_WEIGHT * MAX_PROMPT + (RENEW_EVERY + 1) * step


@settings(max_examples=12, deadline=None)
@given(lengths=st.lists(requests, min_size=2, max_size=5))
def test_two_users_who_always_wait_differ_by_no_more_than_the_bound(
    lengths: list[list[tuple[int, int]]],
) -> None:
    backlog = Backlog(VTC, {f"u{i}": each for i, each in enumerate(lengths)}, **SIZES)
    furthest = furthest_apart(backlog)
    assert furthest <= bound()
    assert bound() < OUTPUT_WEIGHT * SIZES["kv_tokens"]  # half of the published one


@pytest.mark.parametrize("name", ["fcfs", "srpt"])
def test_the_bound_is_no_matter_of_course(name: str) -> None:
    lengths = {"short": [(2, 3)], "long": [(20, 60)]}
    assert furthest_apart(Backlog(POLICIES[name](), lengths, **SIZES)) > bound()


@pytest.mark.parametrize("weight", [2.0, 4.0])
def test_who_has_twice_the_weight_gets_twice_the_service(weight: float) -> None:
    policy = POLICIES["vtc"](quantum=QUANTUM, renew_every=RENEW_EVERY, weights={"paying": weight})
    lengths = {"one": [(8, 30)], "two": [(12, 20), (4, 50)]}
    backlog = Backlog(policy, lengths, classes={"one": "paying"}, **SIZES)
    for _ in range(1500):
        backlog.step()
    one, two = backlog.service()
    assert one / two == pytest.approx(weight, rel=0.1)


def test_idleness_is_not_saved_up() -> None:
    """Who comes late is served like those who are there, not until he has what they have had."""
    lengths = {user: [(8, 30)] for user in ("early", "other", "late")}
    backlog = Backlog(VTC, lengths, joined=("early", "other"), **SIZES)
    for _ in range(300):
        backlog.step()
    before = backlog.service()
    backlog.join("late")
    for _ in range(300):
        backlog.step()
    early, other, late = backlog.service() - np.array([*before, 0.0])
    for one, two in combinations((early, other, late), 2):
        assert abs(one - two) <= bound()


def policies_with_counters() -> list[PolicySettings]:
    return [VTC, POLICIES["dlpm"](quantum=64.0, renew_every=RENEW_EVERY)]


@pytest.mark.parametrize("policy", policies_with_counters(), ids=lambda each: each.name)
def test_one_who_asks_ten_times_as_much_gets_no_more(policy: PolicySettings) -> None:
    """The greedy user's requests are ten times as long; the three modest ones always wait too."""
    lengths = {"greedy": [(20, 60)], **{f"m{i}": [(2, 6)] for i in range(3)}}
    backlog = Backlog(policy, lengths, **SIZES)
    for _ in range(1500):
        backlog.step()
    greedy, *modest = backlog.service()
    assert greedy <= 1.2 * min(modest)
