"""Looks at a share as samples come in: how often all of them together err, and when they end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.statistics.sequential import (
    HIT,
    MIN_DESIGN_EFFECT,
    MISS,
    OPEN,
    Outcomes,
    ShareLooks,
    design_effect,
)
from suite.statistics.shares import share_interval

TARGET = 0.9
LOOKS = ShareLooks(bound=TARGET, most=240)
NUM_TRIALS = 300
MAX_ERROR_RATIO = 0.05 + 2 * (0.05 * 0.95 / NUM_TRIALS) ** 0.5  # by chance in one of forty


def bursts(rng: np.random.Generator, share: float, length: float) -> Outcomes:
    """Users of a server that is now well and now overloaded: misses come in bursts that last for
    `length` users on average, and none is missed outside."""
    is_bad = rng.random() >= share
    row = np.full(LOOKS.most, HIT, dtype=np.int8)
    for place in range(LOOKS.most):
        row[place] = MISS if is_bad else HIT
        leave = 1 / length if is_bad else (1 - share) / share / length
        is_bad ^= rng.random() < leave
    return row


def decided(outcomes: Outcomes, looks: ShareLooks = LOOKS) -> bool | None:
    """The first answer, looked for after every twelfth sample."""
    for num in range(12, len(outcomes) + 1, 12):
        answer = looks.look(outcomes[:num]).is_above
        if answer is not None:
            return answer
    return None


@pytest.mark.parametrize("length", [1.0, 2.0])
def test_at_the_bound_itself_all_looks_together_err_no_more_often_than_stated(
    length: float,
) -> None:
    rng = np.random.default_rng(5)
    answers = [decided(bursts(rng, TARGET, length)) for _ in range(NUM_TRIALS)]
    assert sum(each is not None for each in answers) / NUM_TRIALS <= MAX_ERROR_RATIO


def test_the_plain_interval_looked_at_again_and_again_errs_far_more_often() -> None:
    """What the looks are for: this test would notice if they spent more error than there is."""
    rng = np.random.default_rng(5)

    def is_fooled(outcomes: Outcomes) -> bool:
        for num in range(30, len(outcomes) + 1, 6):
            found = share_interval((outcomes[:num] == HIT).astype(float), np.ones(num))
            assert found is not None and found.low is not None and found.high is not None
            if not found.low <= TARGET <= found.high:
                return True
        return False

    fooled = sum(is_fooled(bursts(rng, TARGET, 1.0)) for _ in range(NUM_TRIALS))
    assert fooled / NUM_TRIALS > MAX_ERROR_RATIO


@pytest.mark.parametrize(("share", "answer"), [(0.995, True), (0.6, False)])
def test_a_share_far_from_the_bound_is_told(share: float, answer: bool) -> None:
    rng = np.random.default_rng(9)
    answers = [decided(bursts(rng, share, 1.5)) for _ in range(100)]
    assert sum(each is answer for each in answers) >= 90 and (not answer) not in answers


def test_as_many_hits_as_are_needed_show_a_share_above_the_bound_and_no_fewer() -> None:
    num = LOOKS.fewest_above
    assert num == 106
    all_hit = np.full(num, HIT, dtype=np.int8)
    assert LOOKS.look(all_hit).is_above is True
    assert LOOKS.look(all_hit[:-1]).is_above is None


def test_a_share_above_is_told_only_by_a_look_at_a_steady_state() -> None:
    all_hit = np.full(LOOKS.most, HIT, dtype=np.int8)
    asked: list[int] = []

    def is_steady(num: int) -> bool:
        asked.append(num)
        return num > LOOKS.fewest_above

    assert LOOKS.look(all_hit, is_steady).is_above is True
    assert asked == [LOOKS.fewest_above, 2 * LOOKS.fewest_above]
    assert LOOKS.look(all_hit, lambda _: False).is_above is None
    missed = np.full(LOOKS.most, MISS, dtype=np.int8)
    assert LOOKS.look(missed, lambda _: False).is_above is False


def test_of_nothing_nothing_is_known() -> None:
    assert LOOKS.look(np.zeros(0, dtype=np.int8)).interval == (0.0, 1.0)
    low, high = LOOKS.look(np.full(LOOKS.most, OPEN, dtype=np.int8)).interval
    assert low == 0.0 and high == 1.0


@given(st.lists(st.booleans(), min_size=1, max_size=240), st.integers(0, 240), st.booleans())
def test_an_answer_given_early_stands_when_the_rest_is_known(
    hits: list[bool], num_known: int, rest: bool
) -> None:
    """The worst that may yet come was taken for granted: no rest of one kind turns an answer."""
    known = np.array(hits[:num_known], dtype=np.int8)
    early = LOOKS.look(known).is_above
    filled = np.full(LOOKS.most, HIT if rest else MISS, dtype=np.int8)
    filled[: len(known)] = known
    if early is not None:
        assert LOOKS.look(filled).is_above in (early, None)


def test_bursts_count_as_fewer_samples_and_scattered_misses_as_no_more_than_stated() -> None:
    scattered = np.ones(240, dtype=bool)
    scattered[::10] = False
    bunched = np.ones(240, dtype=bool)
    bunched[100:124] = False
    assert design_effect(scattered) == MIN_DESIGN_EFFECT
    sums = np.array([20, 20, 20, 20, 20, 0, 16, 20, 20, 20, 20, 20])
    by_hand = sums.var(ddof=1) / (20 * 0.9 * 0.1)
    assert design_effect(bunched) == pytest.approx(by_hand) and by_hand > MIN_DESIGN_EFFECT
