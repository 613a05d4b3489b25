"""Two parts with the same prompts at one server with a prefix cache: in every form of a prompt the
second finds its own history and nothing of the first's."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from engines.api import Endpoint
from suite.driver.caching_server import Behaviour, PrefixCache, command
from suite.driver.calibrate import endpoint, running_server
from suite.driver.opening import opened, opening_of
from suite.records.turn_records import TurnRecord
from tests.suite.driver.conftest import Played
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Turn

NUM_PROMPT, NUM_ANSWER, NUM_TURNS = 60, 5, 3
BLOCK = Behaviour().block_tokens
TEMPLATE = 20
Drive = Callable[..., Played]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    directory = tmp_path_factory.mktemp("caching")
    behaviour = {"s_per_token": 0.0, "num_template_tokens": TEMPLATE}
    with running_server([sys.executable, *command(directory, **behaviour)], directory) as port:
        yield replace(endpoint(port, {}), is_fsbench=False)


TEXT, CHAT = {"prompt_form": "text"}, {"prompt_form": "text", "api": "chat"}
FORMS: dict[str, tuple[dict[str, Any], bool]] = {  # and whether the plan has real words
    "token ids": ({"prompt_form": "token_ids"}, False),
    "words for ids": (TEXT, False),
    "text": (TEXT, True),
    "chat, words for ids": (CHAT, False),
    "chat": (CHAT, True),
}


def plan_of(make_plan: Callable[..., Plan], seed: int, *, has_text: bool) -> Plan:
    """Two conversations whose first prompts begin alike."""
    rng = np.random.default_rng(seed)
    plan = make_plan(closed_concurrency=1)
    prompts = rng.integers(256, 8000, (2, NUM_TURNS, NUM_PROMPT))
    prompts[1, 0, : NUM_PROMPT // 2] = prompts[0, 0, : NUM_PROMPT // 2]
    conversations = tuple(
        Conversation(
            conversation_id=f"{seed}-{number}",
            user_id=f"u{number}",
            user_class="standard",
            start_at_s=0.0,
            turns=tuple(turn_of(each, has_text=has_text) for each in mine),
        )
        for number, mine in enumerate(prompts)
    )
    return replace(plan, conversations=conversations)


def turn_of(ids: np.ndarray[Any, Any], *, has_text: bool) -> Turn:
    return Turn(
        new_prompt_token_ids=ids[:0].astype(np.int32) if has_text else ids.astype(np.int32),
        prompt_text=" ".join(f"said{each}" for each in ids) if has_text else None,
        num_output_tokens=NUM_ANSWER,
        think_time_s=0.0,
    )


def whole_blocks(num_tokens: int) -> int:
    return num_tokens // BLOCK * BLOCK


@pytest.mark.parametrize("form", FORMS)
def test_a_second_part_finds_its_own_history_and_nothing_of_the_first(
    form: str,
    server: Endpoint,
    make_plan: Callable[..., Plan],
    drive_in_process: Drive,
) -> None:
    fields, has_text = FORMS[form]
    plan = plan_of(make_plan, seed=list(FORMS).index(form), has_text=has_text)
    to = replace(server, **fields)

    def part(opening: tuple[int, ...]) -> list[TurnRecord]:
        records = drive_in_process(opened(plan, opening), to).records
        assert [each.error for each in records] == [None] * 2 * NUM_TURNS
        return sorted(records, key=lambda each: (each.conversation_id, each.turn))

    openings = [opening_of(plan, salt) for salt in ("one", "two")]
    first, second = (part(opening) for opening in openings)
    is_chat = fields is CHAT
    template = TEMPLATE if is_chat else 0
    for records in (first, second):
        one, other = records[:NUM_TURNS], records[NUM_TURNS:]
        assert found(one[0]) <= whole_blocks(template + 1)
        # What the two conversations share, the part's own words included, they go on sharing.
        shared = template + len(openings[0]) + NUM_PROMPT // 2
        assert whole_blocks(shared) <= found(other[0]) < shared + BLOCK
        for history in (one, other):
            for before, after in itertools.pairwise(history):
                assert whole_blocks(size(before) - 1) <= found(after) <= size(before) + NUM_ANSWER
    assert [size(each) for each in first] == [size(each) for each in second]
    assert size(first[0]) == NUM_PROMPT + len(openings[0]) + template + 2 * is_chat
    again = part(openings[1])  # the check sees something: these are the second's own words
    assert found(again[0]) >= whole_blocks(NUM_PROMPT)


def found(record: TurnRecord) -> int:
    assert record.num_cached_tokens is not None
    return record.num_cached_tokens


def size(record: TurnRecord) -> int:
    assert record.num_prompt_tokens is not None
    return record.num_prompt_tokens


def test_the_servers_cache_knows_whole_blocks_behind_what_they_were_computed_behind() -> None:
    cache = PrefixCache(block_tokens=4)
    said = list(range(10))
    assert cache.num_found(said, "") == 0
    cache.keep(said, "")
    assert [cache.num_found(said[:num], "") for num in (3, 4, 5, 8, 9, 10)] == [0, 0, 4, 4, 8, 8]
    assert cache.num_found([*said, 99], "") == 8
    assert cache.num_found([99, *said], "") == 0
    assert cache.num_found([*said[:4], 99, *said[5:]], "") == 4
    assert cache.num_found(said, "salt") == 0
    cache.clear()
    assert cache.num_found(said, "") == 0
