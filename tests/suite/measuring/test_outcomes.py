"""Conversations judged while a run goes on: what is known stays so, and the end is the users'."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from suite.measuring.attainment import attaining_turns, judge_users, planned_users
from suite.measuring.outcomes import NUM_FIRST, ConversationOutcomes, outcomes_of
from suite.records.turn_table import TurnTable, read_turns
from suite.statistics.arrays import Bools
from suite.statistics.sequential import HIT, MISS, OPEN
from tests.reports.synthetic_run import FAST, make_plan, write_run

PLAN = make_plan(num_conversations=24)


@pytest.fixture(scope="module")
def turns(tmp_path_factory: pytest.TempPathFactory) -> TurnTable:
    run = write_run(tmp_path_factory.mktemp("run"), {"mine": FAST}, plan=PLAN, repeats=1)
    return read_turns([(1, run / "mine" / "1")])


def test_at_the_end_of_a_run_conversations_are_judged_as_their_users(turns: TurnTable) -> None:
    """Of users with one conversation each."""
    attains = attaining_turns(turns, PLAN.user_classes)
    users = judge_users(planned_users(PLAN), turns, attains, attains, [1])
    mine = outcomes_of(turns, PLAN)
    by_user: dict[str, list[bool]] = {}
    for each, outcome in zip(PLAN.conversations, mine.outcome, strict=True):
        assert outcome in (HIT, MISS)
        by_user.setdefault(each.user_id, []).append(bool(outcome == HIT))
    single = {user: found[0] for user, found in by_user.items() if len(found) == 1}
    assert single
    is_within = dict(zip(users.user_id, users.is_within_slo, strict=True))
    assert single == {user: bool(is_within[user]) for user in single}
    assert not np.isnan(mine.ended_at).any()


@settings(deadline=None)
@given(st.data())
def test_what_is_known_early_is_what_the_end_says(turns: TurnTable, data: st.DataObject) -> None:
    """Of each conversation the turns come in order; some of the last have not come yet."""
    first_missing = np.array(
        [data.draw(st.integers(0, len(each.turns))) for each in PLAN.conversations]
    )
    row_of = {each.conversation_id: row for row, each in enumerate(PLAN.conversations)}
    rows = np.array([row_of[each] for each in turns.conversation_id])
    is_there: Bools = turns.turn < first_missing[rows]
    early, late = outcomes_of(turns.where(is_there), PLAN), outcomes_of(turns, PLAN)
    known = early.outcome != OPEN
    assert (early.outcome[known] == late.outcome[known]).all()
    num_planned = np.array([len(each.turns) for each in PLAN.conversations])
    failed = np.isin([each.conversation_id for each in PLAN.conversations],
                     turns.where(is_there & turns.has_failed).conversation_id)  # fmt: skip
    assert (np.isnan(early.ended_at) == ((first_missing < num_planned) & ~failed)).all()


def outcomes(ended_at: list[float]) -> ConversationOutcomes:
    return ConversationOutcomes(
        start_at=np.arange(len(ended_at), dtype=float),
        outcome=np.full(len(ended_at), HIT, dtype=np.int8),
        ended_at=np.array(ended_at),
        delay_s=np.zeros(len(ended_at)),
    )


def test_nobody_is_judged_who_came_before_half_of_the_first_ten_had_gone() -> None:
    nan = float("nan")
    ended_at = [7.5, nan, nan, nan, nan, 6.0, 8.0, nan, 9.5, nan]
    assert outcomes(ended_at).filled_at is None and not len(outcomes(ended_at).judged)
    ended_at[3] = 12.25
    many = outcomes(ended_at + [nan] * 10)
    assert NUM_FIRST == 10 and many.filled_at == 12.25
    assert len(many.judged) == 20 - 13


def waiting(delay_s: np.ndarray) -> ConversationOutcomes:
    """All but the first ten, who end at once, are judged."""
    num = 10 + len(delay_s)
    return ConversationOutcomes(
        start_at=np.concatenate([np.zeros(10), 1.0 + np.arange(num - 10)]),
        outcome=np.full(num, HIT, dtype=np.int8),
        ended_at=np.full(num, 0.5),
        delay_s=np.concatenate([np.zeros(10), delay_s]),
    )


def test_waits_that_grow_are_no_steady_state_and_waits_that_scatter_are_one() -> None:
    rng = np.random.default_rng(3)
    scattered = rng.exponential(0.3, 240)
    growing = np.linspace(0.1, 0.6, 240) + scattered
    assert waiting(scattered).is_steady(106) and waiting(scattered).is_steady(240)
    assert not waiting(growing).is_steady(240)
    falling = waiting(growing[::-1].copy())
    assert falling.is_steady(240)


def test_of_waits_that_do_not_grow_few_are_taken_to() -> None:
    rng = np.random.default_rng(4)
    taken = [not waiting(rng.exponential(0.3, 106)).is_steady(106) for _ in range(300)]
    assert sum(taken) <= 9
