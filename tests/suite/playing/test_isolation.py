"""What a part is asked with, by what the server offers against a warm cache."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.synthetic_records import make_plan
from engines.api import Endpoint
from engines.errors import EngineInputError
from suite.driver.calibrate import endpoint
from suite.driver.opening import opening_of
from suite.playing.isolation import isolated
from suite.records.run_directory import Isolation
from workloads.plan import Plan

TO = replace(endpoint(8000, {"top_k": 1}), prompt_form="text")


@pytest.fixture
def plan() -> Plan:
    return make_plan(5, mean_turns=2.0, mean_tokens=10.0, seed=1)


def separated(by: str | None) -> Endpoint:
    return replace(TO, separation=by)  # type: ignore[arg-type]


def test_a_salt_goes_into_each_request(plan: Plan) -> None:
    found, isolation = isolated(separated("cache_salt"), plan, "s1")
    assert found.extra_body == {"top_k": 1, "cache_salt": "s1"}
    assert found.opening_token_ids == ()
    assert isolation == Isolation(by="cache_salt", salt="s1")


def test_words_go_before_each_conversation(plan: Plan) -> None:
    found, isolation = isolated(separated("words"), plan, "s1")
    assert found.opening_token_ids == opening_of(plan, "s1") != opening_of(plan, "s2")
    assert found.extra_body == TO.extra_body
    num_tokens = len(found.opening_token_ids)
    assert isolation == Isolation(by="words", salt="s1", num_tokens=num_tokens)


@pytest.mark.parametrize("by", ["reset", "shared", None])
def test_nothing_is_added_where_nothing_is_needed(by: str | None, plan: Plan) -> None:
    to = separated(by)
    found, isolation = isolated(to, plan, "s1")
    assert found == to
    assert (None if isolation is None else isolation.by) == by


def test_a_plan_of_a_single_token_has_no_words_to_draw_from(plan: Plan) -> None:
    same = np.full(4, 7, dtype=np.int32)
    conversations = tuple(
        replace(each, turns=tuple(replace(t, new_prompt_token_ids=same) for t in each.turns))
        for each in plan.conversations
    )
    with pytest.raises(EngineInputError, match="all tokens of this plan are the same"):
        isolated(separated("words"), replace(plan, conversations=conversations), "s1")
