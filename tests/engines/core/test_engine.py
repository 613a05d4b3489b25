"""The step loop as a whole: chunks, ends, priorities by iteration, transfers, the step log."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engines.api import PriorityUpdates
from engines.core.request import FinishReason, Request
from engines.core.sampling_params import SamplingParams
from tests.engines.core.bench import (
    VLLM,
    Bench,
    core_settings,
    prompt_of,
)
from tests.engines.core.memory_device import next_token, undisturbed


def test_a_prompt_longer_than_the_token_budget_is_computed_in_chunks_beside_decodes() -> None:
    bench = Bench(core_settings(VLLM, max_batch_tokens=8))
    bench.submit("short", prompt_of(1, 3), 12)
    bench.step()
    bench.submit("long", prompt_of(2, 30), 2)
    bench.run()
    sizes = [
        [len(chunk.token_ids) for chunk in batch.chunks] for batch in bench.device.batches[1:6]
    ]
    assert sizes == [[1, 7], [1, 7], [1, 7], [1, 7], [1, 2]]
    assert bench.tokens["long"] == undisturbed(prompt_of(2, 30), 2)


def test_priorities_change_at_the_stated_iterations() -> None:
    updates = PriorityUpdates(
        update_frequency=0.04,
        conversation_ids=["c"],
        levels=np.array([[3], [1], [2]], dtype=np.uint8),
    )
    bench = Bench(core_settings(VLLM), updates)
    request = bench.submit("r", prompt_of(1, 4), 60, conversation_id="c")
    seen = []
    while bench.engine.has_work and len(seen) < 56:
        bench.step()
        seen.append(request.priority)
    assert seen == [3] * 25 + [1] * 25 + [2] * 6
    assert [row.step for row in bench.rows if row.num_priority_updates] == [25, 50]


def test_an_end_of_sequence_token_stops_the_request_unless_ignored() -> None:
    prompt = prompt_of(3, 6)
    eos = next_token([*prompt, next_token(prompt)])
    for ignore, reason, num_tokens in (
        (False, FinishReason.STOP, 2),
        (True, FinishReason.LENGTH, 9),
    ):
        bench = Bench(core_settings(VLLM))
        bench.engine.submit(
            Request(
                request_id="r",
                prompt_token_ids=prompt,
                arrived_at=0.0,
                sampling=SamplingParams(
                    max_tokens=9, ignore_eos=ignore, eos_token_ids=frozenset({eos})
                ),
            )
        )
        bench.run()
        assert (bench.finished["r"], len(bench.tokens["r"])) == (reason, num_tokens)


def test_the_model_runs_on_while_a_swap_in_is_under_way() -> None:
    """Asynchronously the running request loses no step; synchronously it waits for the transfer."""
    gaps = {}
    for swap in ("sync", "async"):
        bench = Bench(core_settings(replace(VLLM, swap=swap)))
        bench.submit("t0", prompt_of(1, 20), 2, conversation_id="c")
        bench.run()
        bench.submit("steady", prompt_of(2, 8), 16)
        bench.step()
        bench.submit("t1", [*prompt_of(1, 20), *bench.tokens["t0"], 9], 2, conversation_id="c")
        seen = []
        while "t1" not in bench.finished:
            began_at = bench.device.now
            bench.step()
            seen.append(bench.device.now - began_at)
        gaps[swap] = max(seen)
        row = next(r for r in bench.rows if r.num_sync_swap_ins + r.num_async_swap_ins)
        assert (row.num_sync_swap_ins, row.num_async_swap_ins) == (swap == "sync", swap == "async")
    assert gaps["async"] == pytest.approx(0.01)
    assert gaps["sync"] > 0.015


def test_a_transfer_that_fails_ends_the_engine_loudly() -> None:
    bench = Bench(core_settings(replace(VLLM, swap="async")))
    bench.submit("slow", prompt_of(1, 40), 20, priority=5)
    bench.step()
    bench.step()
    bench.submit("urgent", prompt_of(2, 40), 3, priority=0)
    bench.device.fault = RuntimeError("the copy thread died")
    with pytest.raises(RuntimeError, match="the copy thread died"):
        bench.run()


def test_the_step_log_adds_up_to_the_counters() -> None:
    bench = Bench(core_settings(VLLM))
    for i in range(6):
        bench.submit(f"r{i}", prompt_of(i, 20), 10, priority=5 - i)
    bench.run()
    stats = bench.engine.stats
    for name in ("num_preemptions", "num_swap_out_blocks", "num_swap_in_blocks", "num_finished"):
        assert sum(getattr(row, name) for row in bench.rows) == getattr(stats, name), name
    assert stats.num_generated_tokens == 60
    assert sum(row.num_decode_tokens for row in bench.rows) == 60 - 6
    assert sum(row.num_prefill_tokens for row in bench.rows) == 6 * 20


def test_a_prompts_last_token_alone_is_prefill_in_the_log() -> None:
    bench = Bench(core_settings(VLLM))  # 24 tokens a step
    bench.submit("one more than a step takes", prompt_of(1, 25), 3)
    bench.submit("one token", [7], 3)
    bench.run()
    assert sum(row.num_prefill_tokens for row in bench.rows) == 26
    assert sum(row.num_decode_tokens for row in bench.rows) == 4


def test_the_log_shows_the_blocks_of_a_request_that_ends_in_the_step() -> None:
    bench = Bench(core_settings(VLLM))
    bench.submit("r", prompt_of(1, 10), 1)
    bench.run()
    assert [(row.num_running, row.num_used_device_blocks) for row in bench.rows] == [(1, 3)]
    assert bench.engine.stats.num_used_device_blocks == 0
