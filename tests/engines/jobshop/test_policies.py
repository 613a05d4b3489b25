"""Rules take what they say, looking ahead looks only at what can be known, settings are strict."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from engines.errors import EngineInputError
from engines.jobshop.base_rule import NUM_WEIGHTS, rule_of
from engines.jobshop.best_of import BestOfPolicy
from engines.jobshop.chance import chance_of, uniform
from engines.jobshop.interruptions import foreseen_finish, num_surprises
from engines.jobshop.play import play, warm_up
from engines.jobshop.policies import ANY_POLICY
from engines.jobshop.problem import Shop, build_shop
from engines.jobshop.rollout import foresee, new_mind
from engines.jobshop.rule_policies import RulePolicy
from engines.jobshop.rules import RULES, choose_by_rule, rank
from engines.jobshop.simulator import candidates, load, to_decision
from engines.jobshop.state import BLOCKED, CLOCK, OUTSIDE, PROCESSING, State, new_state
from tests.engines.jobshop.shops import assert_lawful, random_shop, shops

ALL_KINDS = [
    *({"kind": "rule", "rule": rule} for rule in RULES),
    *({"kind": "rule", "rule": rule, "blocked_first": True} for rule in RULES),
    {"kind": "linear"},
    {"kind": "rollout", "samples": 2},
    {"kind": "rollout", "base": "linear", "samples": 1, "idle": True, "aim": "best"},
    {"kind": "best-of", "samples": 5},
    {"kind": "best-of", "base": "fifo", "blocked_first": True, "samples": 3},
    {"kind": "gnn"},
    {"kind": "gnn", "samples": 3},
]


def _plain_rank(rule: str, shop: Shop, state: State, job: int) -> float:
    """The rules once more, from their definitions."""
    stage = int(state.stage[job]) + 1
    waiting = [each for each in range(len(state.status)) if state.status[each] in (0, 2)]
    left = list(shop.duration[job, stage:])
    queue = 0
    if stage + 1 < shop.machine.shape[1]:
        onward = shop.machine[job, stage + 1]
        queue = sum(shop.machine[each, state.stage[each] + 1] == onward for each in waiting)
    values = {
        "fifo": state.since[job], "spt": left[0], "stpt": shop.duration[job].sum(),
        "lor": len(left), "lwkr": sum(left), "sqno": queue, "random": 0,
        "lifo": -state.since[job], "lpt": -left[0], "ltpt": -shop.duration[job].sum(),
        "mor": -len(left), "mwkr": -sum(left), "lqno": -queue,
    }  # fmt: skip
    return float(values[rule])


@given(shop=shops(), rule=st.sampled_from(RULES), blocked_first=st.booleans())
def test_rules_load_the_job_that_their_definition_names(
    shop: Shop, rule: str, blocked_first: bool
) -> None:
    state, chance = new_state(shop), chance_of(1)
    found = np.empty(len(state.status), dtype=np.int64)
    while (machine := to_decision(shop, state)) >= 0:
        count = candidates(shop, state, machine, found)
        keys = {
            int(job): (
                blocked_first and state.status[job] == OUTSIDE,
                _plain_rank(rule, shop, state, job),
            )
            for job in found[:count]
        }
        job = choose_by_rule(RULES.index(rule), blocked_first, shop, state, found, count, chance)
        assert keys[job] == min(keys.values())
        assert rank(RULES.index(rule), shop, state, job) == keys[job][1]
        load(shop, state, job)


@given(st.integers(0, 2**63))
def test_chance_is_even(seed: int) -> None:
    chance = chance_of(seed)
    values = [uniform(chance) for _ in range(400)]
    assert min(values) >= 0
    assert max(values) < 1
    assert abs(np.mean(values) - 0.5) < 0.1  # 7 standard deviations


@given(shop=shops(most=4), settings=st.sampled_from(ALL_KINDS), seed=st.integers(0, 99))
def test_every_policy_plays_lawfully_and_by_its_seed(
    shop: Shop, settings: dict[str, object], seed: int
) -> None:
    policy = ANY_POLICY.validate_python(settings).build()
    record = play(shop, policy, seed)
    assert_lawful(shop, record)
    assert np.array_equal(play(shop, policy, seed).departure, record.departure)


@given(seed=st.integers(0, 2**32 - 1), settings=st.sampled_from(ALL_KINDS))
def test_nothing_is_decided_by_what_is_yet_to_come(seed: int, settings: dict[str, object]) -> None:
    """Two shops that differ only in interruptions after an instant: until there, one schedule."""
    shop = random_shop(seed, jobs=4, machines=4, windows=0.05)
    instant = 30
    start = np.where(shop.window_start >= instant, 2**62, shop.window_start)
    end = np.where(shop.window_start >= instant, 2**62, shop.window_end)
    other = shop._replace(window_start=start, window_end=end)
    policy = ANY_POLICY.validate_python(settings).build()
    one, two = play(shop, policy, 5).start, play(other, policy, 5).start
    assert np.array_equal(np.where(one < instant, one, -1), np.where(two < instant, two, -1))


def test_the_best_of_many_is_the_best_of_many() -> None:
    shop = random_shop(5, jobs=6, machines=5)
    random_rule = RulePolicy(rule=rule_of("random", blocked_first=False))
    ends = [play(shop, random_rule, seed).makespan for seed in range(50)]
    best = play(shop, BestOfPolicy(base=random_rule.rule, samples=200), 0).makespan
    assert best <= min(ends) + 2
    ones = [
        play(shop, BestOfPolicy(base=random_rule.rule, samples=1), s).makespan for s in range(50)
    ]
    assert best < np.mean(ones)


def test_what_is_foreseen_is_the_mean_of_what_is_left() -> None:
    shop = build_shop(
        [[0], [0]], [[10], [10]], hits=([[4], [-1]], [[7], [0]]), length_bounds=(5, 9)
    )
    state = new_state(shop)
    to_decision(shop, state)
    load(shop, state, 0)
    seen = []
    for clock in range(17):
        state.counts[CLOCK] = clock
        seen.append((foreseen_finish(shop, state, 0), num_surprises(shop, state)))
    # Unforeseen before 4. Then 5 to 9 long, 7 in the mean: 4 + 7 + 6 of work. At 9 it is 6 or more.
    assert seen[0] == seen[3] == (10, 0)
    assert seen[4] == (17, 1)
    assert seen[10] == (18, 1)  # 7, 8 or 9 long
    assert seen[11] == (17, 2)
    assert state.finish_at[0] == 17


@given(shop=shops(), seed=st.integers(0, 99))
def test_without_interruptions_what_is_foreseen_is_what_comes(shop: Shop, seed: int) -> None:
    calm = build_shop(shop.machine, shop.duration)
    state, mind, chance = new_state(calm), new_mind(calm), chance_of(seed)
    found = np.empty(len(state.status), dtype=np.int64)
    while (machine := to_decision(calm, state)) >= 0:
        foresee(calm, state, mind)
        for job in np.flatnonzero(state.status == PROCESSING):
            assert mind.thought.finish_at[job] == state.finish_at[job]
        assert np.array_equal(mind.thought.holder, state.holder)
        count = candidates(calm, state, machine, found)
        load(calm, state, choose_by_rule(12, True, calm, state, found, count, chance))
    assert not (state.status == BLOCKED).any()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "rule", "rule": "fiffo"}, "'fifo', 'lifo'"),
        ({"kind": "rule"}, "rule.rule\n  Field required"),
        ({"kind": "rollout", "samples": 0}, "greater than or equal to 1"),
        ({"kind": "best-of", "base": "none"}, "'fifo', 'lifo'"),
        ({"kind": "magic"}, "'rule', 'linear', 'rollout', 'best-of', 'gnn'"),
        ({"kind": "linear", "samples": 4}, "Extra inputs"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ANY_POLICY.validate_python(settings)


def test_weights_of_another_version_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"features_version": 0, "weights": [0.0] * NUM_WEIGHTS}))
    with pytest.raises(EngineInputError, match=f"{path}: holds .* of feature version 0, but"):
        ANY_POLICY.validate_python({"kind": "linear", "weights": str(path)}).build()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"features_version": 1, "weights": "x"}'])
def test_damaged_weights_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(EngineInputError, match=f"{path}: must be JSON with features_version"):
        ANY_POLICY.validate_python({"kind": "linear", "weights": str(path)}).build()


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(EngineInputError, match=r"none.json: can not be read: No such file"):
        ANY_POLICY.validate_python(
            {"kind": "linear", "weights": str(tmp_path / "none.json")}
        ).build()


def test_a_policy_can_be_warmed_up() -> None:
    warm_up(ANY_POLICY.validate_python({"kind": "rollout"}).build())
