"""Fairness numbers against known answers and a slow twin."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.measuring.fairness import jain_index
from suite.measuring.service import (
    Backlog,
    backlogs,
    max_service_difference,
    service_gaps,
    service_rates,
)
from suite.records.turn_records import TurnRecord
from suite.records.turn_table import read_turns
from tests.turn_files import write_turns


@pytest.mark.parametrize(
    ("shares", "expected"),
    [([1, 1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([2, 1], 0.9), ([0, 0], None), ([], None)],
)
def test_jains_index_of_known_shares(shares, expected):
    assert jain_index(np.array(shares, dtype=float)) == expected


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=50), st.floats(0.1, 10))
def test_jains_index_ignores_the_unit_and_stays_between_one_nth_and_one(shares, unit):
    index = jain_index(np.array(shares))
    assert index is not None
    assert 1 / len(shares) - 1e-9 <= index <= 1 + 1e-9
    assert jain_index(np.array(shares) * unit) == pytest.approx(index)


def stretch(user, start, end, events):
    """events: (instant, service) pairs in order."""
    return Backlog(
        user=user,
        start=start,
        end=end,
        at=np.array([at for at, _ in events], dtype=float),
        service=np.cumsum([amount for _, amount in events], dtype=float),
        total=float(sum(amount for _, amount in events)),
    )


def slow_difference(stretches):
    """Straight from the definition: every pair of users, every t1 < t2 in both waits."""
    worst = 0.0
    for first in stretches:
        for second in stretches:
            start, end = max(first.start, second.start), min(first.end, second.end)
            if first.user == second.user or start >= end:
                continue
            instants = [start, end, *first.at, *second.at]
            inside = [at for at in instants if start <= at <= end]
            for t1 in inside:
                for t2 in inside:
                    if t1 < t2:
                        served = [_between(each, t1, t2) for each in (first, second)]
                        worst = max(worst, abs(served[0] - served[1]))
    return worst


def _between(each, t1, t2):
    """Service received in (t1, t2]."""
    amounts = np.diff(np.concatenate([[0.0], each.service]))
    return sum(amount for at, amount in zip(each.at, amounts, strict=True) if t1 < at <= t2)


def test_the_service_difference_of_two_users_by_hand():
    """While both wait, ann gets 30 and bob nothing; then bob gets 12 while ann gets 2."""
    ann = stretch("ann", 0, 10, [(1, 20), (2, 10), (9, 2)])
    bob = stretch("bob", 0, 10, [(8, 12)])
    assert max_service_difference([ann, bob]) == 30.0


def test_service_outside_the_common_wait_does_not_count():
    ann = stretch("ann", 0, 5, [(1, 100), (4, 3)])
    bob = stretch("bob", 3, 9, [(8, 50)])
    assert max_service_difference([ann, bob]) == 3.0


def test_users_who_never_wait_together_have_no_difference():
    assert max_service_difference([stretch("a", 0, 1, [(1, 9)]), stretch("b", 2, 3, [])]) == 0.0


STRETCHES = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 20),
        st.integers(1, 15),
        st.lists(st.tuples(st.integers(0, 15), st.integers(1, 9)), max_size=6),
    ),
    max_size=5,
)


@given(STRETCHES)
def test_the_service_difference_equals_its_slow_twin(drawn):
    stretches = [
        stretch(
            user,
            float(start),
            float(start + length),
            sorted((start + min(after, length), amount) for after, amount in events),
        )
        for user, start, length, events in drawn
    ]
    assert max_service_difference(stretches) == slow_difference(stretches)


def slow_gap(stretches, at):
    """Of all pairs that wait at that instant, from where both do."""
    found = []
    for first in stretches:
        for second in stretches:
            start = max(first.start, second.start)
            overlaps = first.user != second.user and start < min(first.end, second.end)
            if overlaps and start <= at <= min(first.end, second.end):
                found.append(_between(first, start, at) - _between(second, start, at))
    return max(found, default=None)


@given(STRETCHES)
def test_the_gaps_over_time_equal_their_slow_twin_and_never_pass_the_difference(drawn):
    stretches = [
        stretch(
            user,
            float(start),
            float(start + length),
            sorted((start + min(after, length), amount) for after, amount in events),
        )
        for user, start, length, events in drawn
    ]
    instants = np.arange(0.0, 36.0, 1.5)
    gaps = [None if gap is None else gap.tokens for gap in service_gaps(stretches, instants)]
    assert gaps == [slow_gap(stretches, at) for at in instants]
    assert max((gap for gap in gaps if gap is not None), default=0.0) <= max_service_difference(
        stretches
    )


def test_a_gap_names_who_is_ahead():
    ann = stretch("ann", 0, 10, [(1, 20), (2, 10), (9, 2)])
    bob = stretch("bob", 0, 10, [(8, 12)])
    early, late, after = service_gaps([ann, bob], np.array([5.0, 9.0, 11.0]))
    assert (early.tokens, early.most, early.least) == (30.0, "ann", "bob")
    assert late.tokens == 20.0
    assert after is None


def record(user, conversation_id, scheduled_at, token_at, done_at):
    return TurnRecord(
        conversation_id=conversation_id,
        turn=0,
        user_id=user,
        user_class="all",
        priority=None,
        planned_output_tokens=len(token_at),
        scheduled_at=scheduled_at,
        sent_at=scheduled_at,
        token_at=tuple(token_at),
        tokens_per_chunk=(1,) * len(token_at),
        done_at=done_at,
        num_prompt_tokens=10,
        num_cached_tokens=None,
        num_output_tokens=len(token_at),
        num_coalesced=0,
        time_source="kernel",
        finish_reason="length",
        error=None,
    )


def test_without_turns_nobody_waits(tmp_path):
    write_turns(tmp_path / "turns.parquet", [], started_at_monotonic_s=0.0)
    assert backlogs(read_turns([(1, tmp_path)])) == []
    assert max_service_difference([]) == 0.0


def test_too_many_overlapping_waits_are_not_compared(monkeypatch):
    waits = [stretch(user, 0.0, 1.0, [(0.5, 1)]) for user in "abc"]
    assert max_service_difference(waits) == 0.0
    monkeypatch.setattr("suite.measuring.service.MAX_PAIRS", 2)
    assert max_service_difference(waits) is None


def test_a_users_overlapping_turns_are_one_backlog(tmp_path):
    """ann's two conversations overlap and a third comes later; prompt 10 + 2 a token."""
    records = [
        record("ann", "c0", 0.0, [1.0, 2.0], 2.0),
        record("ann", "c1", 1.5, [3.0], 4.0),
        record("ann", "c2", 9.0, [10.0], 10.0),
        record("bob", "c3", 0.0, [], 3.0),
    ]
    write_turns(tmp_path / "turns.parquet", records, started_at_monotonic_s=0.0)
    found = backlogs(read_turns([(1, tmp_path)]))
    assert [(each.user, each.start, each.end) for each in found] == [
        ("ann", 0.0, 4.0),
        ("ann", 9.0, 10.0),
        ("bob", 0.0, 3.0),
    ]
    assert found[0].at.tolist() == [1.0, 2.0, 3.0]
    assert found[0].service.tolist() == [12.0, 14.0, 26.0]
    assert all(before < after for before, after in pairwise(found[0].service))
    assert service_rates(found) == {"ann": (26.0 + 12.0) / 5.0, "bob": 0.0}
