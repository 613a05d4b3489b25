"""What a next turn finds of its history: on the host, in copies that stay, in a shared prefix."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.core.request import Phase
from tests.engines.core.bench import (
    BLOCK,
    PREFIX,
    VLLM,
    Bench,
    core_settings,
    prompt_of,
)
from tests.engines.core.memory_device import undisturbed


def test_the_next_turn_finds_its_history_on_the_host() -> None:
    bench = Bench(core_settings(VLLM))
    prompt = prompt_of(1, 10)
    bench.submit("t0", prompt, 5, conversation_id="c")
    bench.run()
    history = prompt + bench.tokens["t0"]
    bench.submit("t1", history + prompt_of(2, 3), 5, conversation_id="c")
    bench.run()
    # All but the last sampled token had its KV computed in the first turn.
    assert bench.cached["t1"] == len(history) - 1
    assert bench.tokens["t1"] == undisturbed(history + prompt_of(2, 3), 5)


def test_an_edited_history_is_reused_only_up_to_the_edit() -> None:
    bench = Bench(core_settings(VLLM))
    prompt = prompt_of(1, 12)
    bench.submit("t0", prompt, 5, conversation_id="c")
    bench.run()
    edited = [*prompt[:7], 4999, *prompt[8:]]
    bench.submit("t1", edited, 5, conversation_id="c")
    bench.run()
    assert bench.cached["t1"] == 7
    assert bench.tokens["t1"] == undisturbed(edited, 5)


def test_kept_history_makes_room_for_preempted_requests_oldest_first() -> None:
    bench = Bench(core_settings(VLLM, swap_tokens=64))
    for i in range(3):
        bench.submit(f"t{i}", prompt_of(i, 16), 5, conversation_id=f"c{i}")
        bench.run()
    # three contexts of 5 blocks fill 15 of 16 host blocks; the next swap-out needs more
    bench.submit("big", prompt_of(7, 24), 8, priority=9)
    bench.step()
    bench.step()
    bench.submit("urgent", prompt_of(8, 40), 2, priority=0)
    bench.run()
    assert bench.engine.stats.num_recompute_preemptions == 0
    bench.submit("again", [*prompt_of(2, 16), 1], 2, conversation_id="c2")
    bench.submit("lost", [*prompt_of(0, 16), 1], 2, conversation_id="c0")
    bench.run()
    assert (bench.cached["again"], bench.cached["lost"]) == (16, 0)


def test_a_host_copy_that_stays_valid_makes_the_next_swap_out_an_increment() -> None:
    bench = Bench(core_settings(replace(VLLM, reuse="host_copy")))
    prompt = prompt_of(1, 16)
    bench.submit("t0", prompt, 5, conversation_id="c")
    bench.run()  # 20 tokens computed: 5 blocks out
    history = prompt + bench.tokens["t0"]
    bench.submit("t1", [*history, 7], 11, conversation_id="c")
    bench.run()  # 32 tokens computed: blocks 5, 6, 7 are new
    stats = bench.engine.stats
    assert (stats.num_swap_out_blocks, stats.num_swap_in_blocks) == (5 + 3, 5)
    assert bench.tokens["t1"] == undisturbed([*history, 7], 11)


def test_a_swapped_context_without_kept_copies_goes_out_whole_each_time() -> None:
    bench = Bench(core_settings(VLLM))
    prompt = prompt_of(1, 16)
    bench.submit("t0", prompt, 5, conversation_id="c")
    bench.run()
    bench.submit("t1", [*prompt, *bench.tokens["t0"], 7], 11, conversation_id="c")
    bench.run()
    assert bench.engine.stats.num_swap_out_blocks == 5 + 8


def test_a_contaminated_copy_is_used_as_far_as_it_is_valid() -> None:
    bench = Bench(core_settings(replace(VLLM, reuse="host_copy"), swap_tokens=64))
    prompt = prompt_of(1, 40)
    bench.submit("old", prompt, 5, conversation_id="old")
    bench.run()  # 11 of 16 host blocks
    bench.submit("new", prompt_of(2, 32), 5, conversation_id="new")
    bench.run()  # 9 more are needed: 4 are taken from the old copy's end
    bench.submit("again", [*prompt, 1], 3, conversation_id="old")
    bench.run()
    assert sum(row.num_contaminated_blocks for row in bench.rows) >= 4
    assert bench.cached["again"] == 7 * BLOCK
    assert bench.tokens["again"] == undisturbed([*prompt, 1], 3)


def test_a_prefix_is_found_by_its_tokens_whoever_computed_it() -> None:
    bench = Bench(core_settings(PREFIX))
    prompt = prompt_of(1, 18)
    bench.submit("first", prompt, 3)
    bench.run()
    bench.submit("same", prompt, 3)
    bench.submit("longer", [*prompt[:12], 4998, 4997], 3)
    bench.run()
    assert (bench.cached["first"], bench.cached["same"], bench.cached["longer"]) == (0, 16, 12)
    assert bench.tokens["same"] == bench.tokens["first"]
    assert bench.tokens["longer"] == undisturbed([*prompt[:12], 4998, 4997], 3)


def test_two_who_run_at_once_share_the_blocks_of_their_prefix() -> None:
    bench = Bench(core_settings(PREFIX))
    prompt = prompt_of(1, 32)
    bench.submit("first", [*prompt, 1], 12)
    for _ in range(3):
        bench.step()
    bench.submit("second", [*prompt, 2], 12)
    bench.step()
    # 9 blocks each, but the 8 of the prefix stand once
    assert bench.engine.stats.num_used_device_blocks == 10
    bench.run()
    assert bench.tokens["second"] == undisturbed([*prompt, 2], 12)


@pytest.mark.parametrize(
    ("urgent", "between"),
    [
        # 9 blocks each, of which `urgent` and `late` share 8: 7 would be free without `late`
        ([*prompt_of(1, 32), 1], prompt_of(2, 33)),
        # 5 and 14 blocks, of which `between` and `late` share 8: 11 would be free without `late`
        (prompt_of(2, 17), [*prompt_of(1, 32), *prompt_of(3, 21)]),
    ],
)
def test_nobody_is_sent_away_for_blocks_that_would_stay_in_use(
    urgent: list[int], between: list[int]
) -> None:
    bench = Bench(core_settings(PREFIX, max_batch_tokens=64))
    bench.submit("urgent", urgent, 3, priority=0)
    bench.step()
    late = bench.submit("late", [*prompt_of(1, 32), 2], 4, priority=5)
    bench.step()
    bench.submit("between", between, 3, priority=3)
    bench.step()
    assert (late.phase, late.num_preemptions) == (Phase.RUNNING, 0)
    bench.run()
    assert bench.tokens["between"] == undisturbed(between, 3)


def test_a_cached_prefix_gives_way_to_whoever_needs_the_blocks() -> None:
    bench = Bench(core_settings(PREFIX))
    bench.submit("first", prompt_of(1, 20), 2)
    bench.run()
    bench.submit("large", prompt_of(2, 60), 4)
    bench.run()
    bench.submit("again", prompt_of(1, 20), 2)
    bench.run()
    assert bench.cached["again"] == 0
    assert bench.engine.stats.num_preemptions == 0
