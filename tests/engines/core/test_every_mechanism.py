"""Every combination of mechanisms, under pressure and under any history: no block is lost, and
the tokens are those of an undisturbed run."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engines.api import PriorityUpdates
from engines.core.request import FinishReason
from tests.engines.core.bench import (
    ARMS,
    Bench,
    core_settings,
    prompt_of,
    terms_of,
)
from tests.engines.core.memory_device import undisturbed


@pytest.mark.parametrize("arm", ARMS)
def test_tokens_are_those_of_an_undisturbed_run_under_heavy_preemption(arm: str) -> None:
    names = [f"c{i}" for i in range(8)]
    rng = np.random.default_rng(5)
    updates = PriorityUpdates(
        update_frequency=0.5,
        conversation_ids=names,
        levels=rng.integers(0, 4, size=(64, 8), dtype=np.uint8),
    )
    bench = Bench(core_settings(ARMS[arm]), updates)
    expected = {}
    histories: dict[str, list[int]] = {name: [] for name in names}
    for turn in range(3):
        for i, name in enumerate(names):
            prompt = histories[name] + prompt_of(i * 10 + turn, 3 + i % 5)
            num_tokens = 8 + i % 3
            request = bench.submit(
                f"{name}-{turn}", prompt, num_tokens, conversation_id=name, terms=terms_of(i)
            )
            expected[request.request_id] = undisturbed(prompt, num_tokens)
            histories[name] = prompt + expected[request.request_id]
        bench.run()
    assert bench.tokens == expected
    assert set(bench.finished.values()) == {FinishReason.LENGTH}
    stats = bench.engine.stats
    mechanisms = ARMS[arm]
    if mechanisms.policy.name == "priority":
        assert stats.num_preemptions >= 8
        if mechanisms.preemption == "swap":
            assert stats.num_recompute_preemptions < stats.num_preemptions
        else:
            assert stats.num_recompute_preemptions > 0
    if mechanisms.reuse != "prefix":  # in turn, the least recently used is always the next needed
        assert (mechanisms.reuse != "none") == (stats.num_reused_tokens > 0)


@settings(max_examples=150)
@example(  # once found: a block was read by another while it was on its way out
    arm="fcfs-block_group-adaptive-swap-prefix-merged",
    host_tokens=64,
    update_frequency=0.0,
    events=[
        *[("submit", 0, 1, num_tokens, 0) for num_tokens in (1, 1, 1, 4, 8)],
        ("submit", 0, 20, 2, 0),
    ],
)
@given(
    arm=st.sampled_from(sorted(ARMS)),
    host_tokens=st.sampled_from([0, 16, 64, 256]),
    update_frequency=st.sampled_from([0.0, 0.25, 1.0]),
    events=st.lists(
        st.tuples(
            st.sampled_from(["submit", "submit", "steps", "abort", "end"]),
            st.integers(0, 5),
            st.integers(1, 30),
            st.integers(1, 20),
            st.integers(0, 3),
        ),
        max_size=40,
    ),
)
def test_any_history_of_requests_keeps_every_block_and_every_token(
    arm: str,
    host_tokens: int,
    update_frequency: float,
    events: list[tuple[str, int, int, int, int]],
) -> None:
    """`check_integrity` runs after every step; every finished request has the right tokens, and all
    finish, also where priorities change in every step."""
    updates = PriorityUpdates(
        update_frequency=update_frequency,
        conversation_ids=[f"c{who}" for who in range(6)],
        levels=np.random.default_rng(0).integers(0, 4, size=(64, 6), dtype=np.uint8),
    )
    core = core_settings(ARMS[arm], swap_tokens=host_tokens)
    bench = Bench(core, updates if update_frequency else None)
    expected: dict[str, list[int]] = {}
    histories: dict[int, list[int]] = {}
    num_ended = 0
    for i, (what, who, num_prompt, num_tokens, priority) in enumerate(events):
        if what == "submit":
            history = histories.get(who, [])
            if len(history) + num_prompt + num_tokens > 64:
                history = []
            prompt = history + prompt_of(i, num_prompt)
            name = f"r{i}"
            bench.submit(
                name,
                prompt,
                num_tokens,
                conversation_id=f"c{who}",
                priority=priority,
                terms=terms_of(who),
            )
            expected[name] = undisturbed(prompt, num_tokens)
            histories[who] = prompt + expected[name]
        elif what == "steps":
            for _ in range(num_prompt):
                if bench.engine.has_work:
                    bench.step()
        else:
            stop = bench.engine.abort if what == "abort" else bench.engine.end
            was_live = f"r{num_prompt}" in bench.engine._live
            stop(f"r{num_prompt}")
            num_ended += was_live and what == "end"
            bench.engine.check_integrity()
    bench.run()
    assert {name: bench.tokens[name] for name in bench.finished} == {
        name: expected[name] for name in bench.finished
    }
    bench.device.now += 1000  # everything under way has arrived
    bench.engine.poll()
    assert not bench.engine.has_flights
    stats = bench.engine.stats
    assert (stats.num_running, stats.num_waiting, stats.num_swapped) == (0, 0, 0)
    assert stats.num_used_device_blocks == 0, "leaked"
    assert len(bench.finished) + stats.num_aborted + num_ended == len(expected)
    assert set(bench.requests) == set(expected)
