from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import counts, small_plan
from workloads.shapes import Tally
from workloads.spec_users import SloSpec, UserClassSpec
from workloads.users import EMPTY_CLASS, assign_users

SLO = SloSpec.model_validate({"ttft": "1s", "tbt": "1s", "attainment": 0.9})


def user_class(share: float, conversations_per_user: int = 1) -> UserClassSpec:
    return UserClassSpec(share=share, slo=SLO, conversations_per_user=conversations_per_user)


@given(st.integers(1, 300), st.floats(0.05, 0.95), st.integers(1, 5), st.integers(0, 99))
def test_users_have_their_share_and_their_number_of_conversations(
    num: int, share: float, per_user: int, seed: int
) -> None:
    classes = {"a": user_class(share, per_user), "b": user_class(1 - share)}
    users = assign_users(classes, num, seed, Tally())
    assert len(users) == num
    in_a = [user.user_id for user in users if user.user_class == "a"]
    weight = share * per_user
    assert abs(len(in_a) - num * weight / (weight + 1 - share)) < 1 + 1e-6
    held = sorted(Counter(in_a).values(), reverse=True)
    assert all(number == per_user for number in held[:-1])
    assert all(number <= per_user for number in held)


def test_the_order_of_the_classes_in_the_file_does_not_matter() -> None:
    classes = {"a": user_class(0.3), "b": user_class(0.7)}
    turned = dict(reversed(classes.items()))
    assert assign_users(classes, 50, 7, Tally()) == assign_users(turned, 50, 7, Tally())


def test_the_seed_moves_users_about_but_keeps_their_numbers() -> None:
    classes = {"a": user_class(0.3), "b": user_class(0.7)}
    first, second = (assign_users(classes, 50, seed, Tally()) for seed in (1, 2))
    assert first != second
    assert Counter(first) == Counter(second)


def test_a_class_that_got_no_conversation_is_reported(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "conversations.count=1")
    assert counts(plan)[EMPTY_CLASS] == 1


def test_the_slo_of_a_class_reaches_the_plan(tmp_path: Path) -> None:
    interactive = small_plan(tmp_path).user_classes[0]
    assert (interactive.name, interactive.share_ratio) == ("interactive", 0.5)
    slo = interactive.slo
    assert (slo.ttft_s, slo.tbt_s, slo.tbt_percentile, slo.attainment_ratio) == (1, 0.2, 0.99, 0.95)
    assert slo.max_gap_s is None
    capped = small_plan(tmp_path, "users.interactive.slo.max_gap=2s").user_classes[0]
    assert capped.slo.max_gap_s == 2.0
