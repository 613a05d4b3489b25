"""Who comes in, who is displaced, and who passes whom."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.api import PriorityUpdates
from engines.core.policies.settings import POLICIES
from engines.core.request import Phase
from engines.core.settings import Mechanisms, Preemption, Reuse
from tests.engines.core.bench import (
    BACKFILL,
    VLLM,
    Bench,
    core_settings,
    prompt_of,
)
from tests.engines.core.memory_device import undisturbed


def test_a_more_urgent_newcomer_takes_the_device_and_gives_it_back() -> None:
    bench = Bench(core_settings(VLLM))
    slow = bench.submit("slow", prompt_of(1, 40), 20, priority=5)
    for _ in range(4):
        bench.step()
    bench.submit("urgent", prompt_of(2, 40), 3, priority=0)
    bench.step()
    assert slow.phase is Phase.SWAPPED
    bench.run()
    assert list(bench.finished) == ["urgent", "slow"]
    assert bench.tokens["slow"] == undisturbed(prompt_of(1, 40), 20)
    assert (bench.engine.stats.num_swap_out_blocks, bench.engine.stats.num_swap_in_blocks) == (
        # 40 prompt tokens in two chunks, then 2 of the output tokens: 42 tokens in blocks of 4
        11,
        11,
    )


def test_equal_priorities_do_not_displace_each_other() -> None:
    bench = Bench(core_settings(VLLM))
    first = bench.submit("first", prompt_of(1, 50), 10)
    bench.step()
    bench.submit("second", prompt_of(2, 50), 10)
    while "first" not in bench.finished:
        assert first.phase is Phase.RUNNING
        bench.step()
    bench.run()
    assert bench.engine.stats.num_preemptions == 0


def test_fcfs_never_lets_a_newcomer_displace_a_holder() -> None:
    bench = Bench(core_settings(replace(VLLM, policy=POLICIES["fcfs"]())))
    bench.submit("first", prompt_of(1, 50), 10, priority=9)
    bench.step()
    bench.submit("second", prompt_of(2, 50), 10, priority=0)
    bench.run()
    assert list(bench.finished) == ["first", "second"]
    assert bench.engine.stats.num_preemptions == 0


def gap_bench(mechanisms: Mechanisms, *, num_small: int = 1) -> Bench:
    """A pool of 64 tokens: `holder` has 32 of them, then come `large`, which needs 48, and small
    ones of 12, all as urgent as each other."""
    bench = Bench(core_settings(mechanisms, max_batch_tokens=64))
    bench.submit("holder", prompt_of(1, 28), 5)
    bench.step()
    bench.submit("large", prompt_of(2, 44), 4)
    for i in range(num_small):
        bench.submit(f"small{i}", prompt_of(3 + i, 8), 20)
    return bench


def test_who_fits_passes_who_does_not_only_if_admission_says_so() -> None:
    for mechanisms, num_running in ((VLLM, 1), (BACKFILL, 2)):
        bench = gap_bench(mechanisms)
        bench.step()
        assert bench.engine.stats.num_running == num_running
        assert ("small0" in bench.tokens) == (mechanisms is BACKFILL)
        assert "large" not in bench.tokens


def test_who_was_passed_starts_in_the_same_step_as_without_backfill() -> None:
    """Those who came in meanwhile make way, and have their tokens in the end all the same."""
    num_steps = {}
    for mechanisms in (VLLM, BACKFILL):
        bench = gap_bench(mechanisms, num_small=2)
        while "large" not in bench.tokens:
            bench.step()
        num_steps[mechanisms.admission] = bench.engine.stats.num_steps
        assert (bench.engine.stats.num_preemptions > 0) == (mechanisms is BACKFILL)
        bench.run()
        for i in range(2):
            assert bench.tokens[f"small{i}"] == undisturbed(prompt_of(3 + i, 8), 20)
    assert num_steps["backfill"] == num_steps["strict"]


def test_who_came_in_past_others_gives_way_to_none_but_those() -> None:
    bench = gap_bench(BACKFILL)
    bench.step()
    bench.submit("later", prompt_of(9, 48), 4)  # as urgent as all, and behind them
    while "holder" not in bench.finished:
        bench.step()
        assert "later" not in bench.tokens
    bench.run()
    assert list(bench.finished) == ["holder", "large", "small0", "later"]
    assert bench.engine.stats.num_preemptions == 0, "large had room beside small0"


def test_who_is_sent_away_without_any_kv_has_nothing_dropped() -> None:
    """`late` came in, but the other prompt took the whole budget: nothing to compute again."""
    recompute = replace(VLLM, preemption="recompute", reuse="none")
    bench = Bench(core_settings(recompute, max_batch_tokens=8))
    bench.submit("long", prompt_of(1, 30), 2, priority=1)
    bench.submit("late", prompt_of(2, 20), 2, priority=2)
    bench.step()
    bench.submit("urgent", prompt_of(3, 20), 2, priority=0)
    bench.run()
    stats = bench.engine.stats
    assert (stats.num_preemptions, stats.num_recompute_preemptions) == (1, 0)
    assert sum(row.num_recomputed_tokens for row in bench.rows) == 0


def test_a_preemption_before_the_first_chunk_recomputes_nothing() -> None:
    bench = Bench(core_settings(VLLM, max_batch_tokens=8))
    bench.submit("first", prompt_of(1, 20), 3, priority=1)
    bench.submit("starved", prompt_of(2, 20), 3, priority=2)
    bench.step()  # both hold blocks, the first takes all of the step's tokens
    bench.submit("urgent", prompt_of(3, 50), 2, priority=0)
    bench.run()
    stats = bench.engine.stats
    assert (stats.num_preemptions, stats.num_recompute_preemptions) == (2, 0)


def test_without_host_room_a_preempted_request_is_recomputed_and_counted() -> None:
    bench = Bench(core_settings(replace(VLLM, reuse="none"), swap_tokens=8))
    bench.submit("slow", prompt_of(1, 40), 10, priority=5)
    bench.step()
    bench.step()
    bench.submit("urgent", prompt_of(2, 40), 3, priority=0)
    bench.run()
    stats = bench.engine.stats
    assert (stats.num_preemptions, stats.num_recompute_preemptions) == (1, 1)
    assert sum(row.num_recomputed_tokens for row in bench.rows) == 40
    assert bench.tokens["slow"] == undisturbed(prompt_of(1, 40), 10)


def test_a_request_that_has_just_arrived_is_not_sent_away_before_it_computed() -> None:
    """Under priorities drawn anew in every iteration, each swap-in must yield a token."""
    names = [f"c{i}" for i in range(6)]
    levels = np.random.default_rng(1).integers(0, 8, size=(256, 6), dtype=np.uint8)
    updates = PriorityUpdates(update_frequency=1.0, conversation_ids=names, levels=levels)
    bench = Bench(core_settings(replace(VLLM, swap="async", reuse="none")), updates)
    for name in names:
        bench.submit(name, prompt_of(int(name[1]), 24), 12, conversation_id=name)
    bench.run()
    num_swap_ins = sum(row.num_sync_swap_ins + row.num_async_swap_ins for row in bench.rows)
    assert 0 < num_swap_ins <= bench.engine.stats.num_generated_tokens
    assert bench.tokens == {n: undisturbed(prompt_of(int(n[1]), 24), 12) for n in names}


@pytest.mark.parametrize(
    ("preemption", "reuse", "swap_tokens"),
    [("recompute", "none", 0), ("recompute", "prefix", 0), ("swap", "host_copy", 16)],
)
def test_everybody_gets_on_where_kv_is_lost_and_priorities_change_in_every_step(
    preemption: Preemption, reuse: Reuse, swap_tokens: int
) -> None:
    """Either needs most of the pool and many steps for its prompt, and is the more urgent one in
    every second step: what one computes must not be dropped for the other for ever."""
    updates = PriorityUpdates(
        update_frequency=1.0,
        conversation_ids=["c0", "c1"],
        levels=np.array([[0, 1], [1, 0]], dtype=np.uint8),
    )
    mechanisms = replace(VLLM, preemption=preemption, reuse=reuse)
    bench = Bench(core_settings(mechanisms, swap_tokens=swap_tokens, max_batch_tokens=8), updates)
    prompts = {name: prompt_of(i, 40) for i, name in enumerate(updates.conversation_ids)}
    for name, prompt in prompts.items():
        bench.submit(name, prompt, 20, conversation_id=name)
    bench.run(max_steps=500)
    assert bench.engine.stats.num_recompute_preemptions > 2
    assert bench.tokens == {name: undisturbed(prompt, 20) for name, prompt in prompts.items()}
