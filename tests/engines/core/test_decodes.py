"""What is kept from step to step is what would be found by looking at everything anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.api import PriorityUpdates
from engines.core.request import FinishReason, Phase
from engines.core.roster import Roster
from engines.core.settings import PRESETS
from tests.engines.core.bench import (
    ARMS,
    VLLM,
    Bench,
    core_settings,
    prompt_of,
)
from tests.engines.core.memory_device import undisturbed

events = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "steps", "abort", "end"]),
        st.integers(0, 5),
        st.integers(1, 30),
        st.integers(1, 20),
        st.integers(0, 3),
    ),
    min_size=3,
    max_size=30,
)
Events = list[tuple[str, int, int, int, int]]


def played(
    arm: str, events: Events, priorities: PriorityUpdates | None = None, *, is_quick: bool
) -> Any:
    """Everything the engine told; `is_quick` = False: as if somebody had moved before each step."""
    mechanisms = PRESETS[arm] if arm in PRESETS else ARMS[arm]
    bench = Bench(core_settings(mechanisms), priorities)
    roster: Roster = bench.engine._roster

    def step() -> None:
        roster.has_changed |= not is_quick
        bench.step()
        check(bench, roster)

    for i, (what, who, num_prompt, num_tokens, priority) in enumerate(events):
        if what == "submit":
            prompt = prompt_of(i, num_prompt)
            name = f"c{who}"
            bench.submit(f"r{i}", prompt, num_tokens, conversation_id=name, priority=priority)
        elif what == "steps":
            for _ in range(num_prompt):
                if bench.engine.has_work:
                    step()
        else:
            stop = bench.engine.abort if what == "abort" else bench.engine.end
            stop(f"r{num_prompt}")
    while bench.engine.has_work:
        step()
    return bench.device.batches, bench.tokens, bench.rows, bench.requests, bench.transfers


def check(bench: Bench, roster: Roster) -> None:
    """The roster knows everybody once, in order, and counts them as their phases do."""
    everybody = list(roster)
    assert set(everybody) == set(bench.engine._live.values())
    assert len(everybody) == len(set(everybody))
    for requests in (roster.running, roster.outside):
        assert requests == sorted(requests, key=roster._key)
    phases = [each.phase for each in everybody]
    counts = (roster.num_running, roster.num_waiting, roster.num_swapped, roster.num_arriving)
    kinds = (Phase.RUNNING, Phase.WAITING, Phase.SWAPPED, Phase.ARRIVING)
    assert counts == tuple(map(phases.count, kinds))


@settings(max_examples=80)
@given(
    arm=st.sampled_from([*PRESETS, *ARMS]),
    events=events,
    levels=st.none() | st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1),
)
def test_a_quiet_step_does_what_a_full_one_would(
    arm: str, events: Events, levels: list[list[int]] | None
) -> None:
    """The engine's check after each step holds the invariant of a quiet step against a look at
    everybody; this holds what comes of it against an engine whose steps are all full."""
    priorities = levels and PriorityUpdates(
        update_frequency=0.25,
        conversation_ids=[f"c{who}" for who in range(6)],
        levels=np.array(levels, dtype=np.uint8),
    )
    quick = played(arm, events, priorities or None, is_quick=True)
    assert quick == played(arm, events, priorities or None, is_quick=False)


def test_equals_run_in_the_order_of_their_submission() -> None:
    bench = Bench(core_settings(VLLM))
    for i in range(4):
        bench.submit(f"r{i}", prompt_of(i, 4), 3)
    bench.run()
    for batch in bench.device.batches:
        assert [chunk.request_id for chunk in batch.chunks] == ["r0", "r1", "r2", "r3"]


def test_who_ends_amid_the_others_leaves_their_tokens_as_they_are() -> None:
    bench = Bench(core_settings(VLLM))
    for i, num_tokens in enumerate((9, 3, 6)):
        bench.submit(f"r{i}", prompt_of(i, 5), num_tokens)
    bench.run()
    for i, num_tokens in enumerate((9, 3, 6)):
        assert bench.tokens[f"r{i}"] == undisturbed(prompt_of(i, 5), num_tokens)
        assert bench.finished[f"r{i}"] is FinishReason.LENGTH
    sizes = [len(batch.chunks) for batch in bench.device.batches]
    assert sizes == [3, 3, 3, 2, 2, 2, 1, 1, 1]
