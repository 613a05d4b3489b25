"""The simulator reaches what exact solvers prove, and nothing that anybody decides beats it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.errors import EngineInputError
from engines.jobshop.exact.clairvoyant import clairvoyant_bound
from engines.jobshop.exact.cp_sat import solve
from engines.jobshop.exact.search import least_makespan
from engines.jobshop.play import play
from engines.jobshop.policies import ANY_POLICY
from engines.jobshop.problem import build_shop
from tests.engines.jobshop.shops import random_shop

SIZES = [(3, 3), (4, 3), (3, 4), (4, 4), (5, 4), (5, 5)]


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_loads_and_idling_reach_the_optimum(size: tuple[int, int]) -> None:
    """54 shops in all."""
    for seed in range(9):
        shop = random_shop(seed, jobs=size[0], machines=size[1])
        answer = solve(shop, time_limit_s=250)
        assert answer.is_proven
        assert least_makespan(shop) == answer.makespan


def test_without_idling_the_optimum_is_out_of_reach() -> None:
    shops = [random_shop(seed, jobs=4, machines=4) for seed in range(12)]
    ratios = [least_makespan(shop, idles=False) / least_makespan(shop) for shop in shops]
    assert min(ratios) >= 1
    assert np.mean(ratios) > 1.02


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["rule", "linear", "rollout", "best-of"]),
    model=st.sampled_from(["hits", "windows"]),
)
def test_no_schedule_beats_the_clairvoyant_bound(seed: int, kind: str, model: str) -> None:
    shop = random_shop(seed, jobs=4, machines=4, **{model: 0.3 if model == "hits" else 0.05})
    rule = {"rule": "fifo"} if kind == "rule" else {}
    policy = ANY_POLICY.validate_python({"kind": kind, **rule}).build()
    answer = clairvoyant_bound(shop, time_limit_s=250)
    assert play(shop, policy, seed % 100).makespan >= answer.bound


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_both_solvers_and_the_search_agree_when_interruptions_are_known(seed: int) -> None:
    shop = random_shop(seed, jobs=4, machines=3, hits=0.4)
    answer = solve(shop, time_limit_s=250)
    assert answer.is_proven
    assert clairvoyant_bound(shop, time_limit_s=250).makespan == answer.makespan
    assert least_makespan(shop) == answer.makespan


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_with_calendars_the_search_is_at_or_above_the_bound(seed: int) -> None:
    shop = random_shop(seed, jobs=3, machines=3, windows=0.05)
    answer = clairvoyant_bound(shop, time_limit_s=250)
    assert answer.is_proven
    assert answer.bound <= least_makespan(shop)


def test_cp_sat_refuses_calendars() -> None:
    shop = build_shop([[0]], [[5]], windows=([[2]], [[4]]), length_bounds=(2, 2))
    with pytest.raises(EngineInputError, match="use clairvoyant_bound"):
        solve(shop)


def test_a_known_instance_is_solved() -> None:
    # Three equal jobs through three machines in a row: the last begins when machine 0 is free
    # for the third time, and each goes through without waiting.
    answer = solve(build_shop([[0, 1, 2]] * 3, [[4, 3, 2]] * 3))
    assert (answer.makespan, answer.bound) == (4 * 3 + 3 + 2, 17)
