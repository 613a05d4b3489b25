"""The step loop as a whole, on a device whose KV cache can be read back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.api import PriorityUpdates
from engines.fastswitch.engine import Engine
from engines.fastswitch.request import FinishReason, Phase, Request, SamplingParams
from engines.fastswitch.settings import PRESETS, CoreSettings, Mechanisms
from engines.fastswitch.step_log import StepRecord
from tests.engines.fastswitch.memory_device import MemoryDevice, next_token, undisturbed

BLOCK = 4


def core_settings(mechanisms: Mechanisms, **changes: int) -> CoreSettings:
    core = CoreSettings(
        mechanisms=mechanisms,
        block_size=BLOCK,
        kv_tokens=64,
        swap_tokens=256,
        max_batch_tokens=24,
        max_num_seqs=8,
    )
    return replace(core, **changes)


class Bench:
    """An engine on a memory device, with what it emitted and logged."""

    def __init__(self, core: CoreSettings, priorities: PriorityUpdates | None = None) -> None:
        self.device = MemoryDevice(
            block_size=core.block_size,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
        )
        self.rows: list[StepRecord] = []
        self.engine = Engine(
            core,
            self.device,
            clock=self.device.clock,
            priorities=priorities,
            on_step=self.rows.append,
        )
        self.tokens: dict[str, list[int]] = {}
        self.finished: dict[str, FinishReason] = {}
        self.cached: dict[str, int] = {}

    def submit(self, name: str, prompt: list[int], num_tokens: int, **fields: object) -> Request:
        request = Request(
            request_id=name,
            prompt_token_ids=prompt,
            sampling=SamplingParams(max_tokens=num_tokens, ignore_eos=True),
            arrived_at=self.device.now,
            **fields,  # type: ignore[arg-type]
        )
        self.engine.submit(request)
        return request

    def step(self) -> None:
        for output in self.engine.step():
            self.tokens.setdefault(output.request_id, []).extend(output.token_ids)
            self.cached[output.request_id] = output.num_cached_tokens
            if output.finish_reason is not None:
                self.finished[output.request_id] = output.finish_reason
        self.engine.check_integrity()

    def run(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            if not self.engine.has_work:
                return
            self.step()
        pytest.fail(f"still live after {max_steps} steps: {self.engine.stats}")


def prompt_of(seed: int, num_tokens: int) -> list[int]:
    return [(seed * 977 + i * 31) % 5000 for i in range(num_tokens)]


VLLM = PRESETS["vllm-0.3"]
ARMS = {
    f"{policy}-{preemption}-{reuse}-{copy}": replace(
        VLLM, policy=policy, preemption=preemption, reuse=reuse, copy=copy
    )
    for policy in ("fcfs", "priority")
    for preemption in ("swap", "recompute")
    for reuse in ("none", "host_swap")
    for copy in ("per_block", "merged")
}


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
            request = bench.submit(f"{name}-{turn}", prompt, num_tokens, conversation_id=name)
            expected[request.request_id] = undisturbed(prompt, num_tokens)
            histories[name] = prompt + expected[request.request_id]
        bench.run()
    assert bench.tokens == expected
    assert set(bench.finished.values()) == {FinishReason.LENGTH}
    stats = bench.engine.stats
    if "priority" in arm:
        assert stats.num_preemptions >= 8
        assert ("priority-swap" in arm) == (stats.num_recompute_preemptions < stats.num_preemptions)
    assert ("host_swap" in arm) == (stats.num_reused_tokens > 0)


@settings(max_examples=60, deadline=None)
@given(
    arm=st.sampled_from(sorted(ARMS)),
    host_tokens=st.sampled_from([0, 16, 64, 256]),
    events=st.lists(
        st.tuples(
            st.sampled_from(["submit", "submit", "steps", "abort"]),
            st.integers(0, 5),
            st.integers(1, 30),
            st.integers(1, 20),
            st.integers(0, 3),
        ),
        max_size=40,
    ),
)
def test_any_history_of_requests_keeps_every_block_and_every_token(
    arm: str, host_tokens: int, events: list[tuple[str, int, int, int, int]]
) -> None:
    """`check_integrity` runs after every step; every finished request has the right tokens."""
    bench = Bench(core_settings(ARMS[arm], swap_tokens=host_tokens))
    expected: dict[str, list[int]] = {}
    histories: dict[int, list[int]] = {}
    for i, (what, who, num_prompt, num_tokens, priority) in enumerate(events):
        if what == "submit":
            history = histories.get(who, [])
            if len(history) + num_prompt + num_tokens > 64:
                history = []
            prompt = history + prompt_of(i, num_prompt)
            name = f"r{i}"
            bench.submit(name, prompt, num_tokens, conversation_id=f"c{who}", priority=priority)
            expected[name] = undisturbed(prompt, num_tokens)
            histories[who] = prompt + expected[name]
        elif what == "steps":
            for _ in range(num_prompt):
                if bench.engine.has_work:
                    bench.step()
        else:
            bench.engine.abort(f"r{num_prompt}")
            bench.engine.check_integrity()
    bench.run()
    assert {name: bench.tokens[name] for name in bench.finished} == {
        name: expected[name] for name in bench.finished
    }
    stats = bench.engine.stats
    assert (stats.num_running, stats.num_waiting, stats.num_swapped) == (0, 0, 0)
    assert stats.num_used_device_blocks == 0
    assert len(bench.finished) + stats.num_aborted == len(expected)


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
    bench = Bench(core_settings(replace(VLLM, policy="fcfs")))
    bench.submit("first", prompt_of(1, 50), 10, priority=9)
    bench.step()
    bench.submit("second", prompt_of(2, 50), 10, priority=0)
    bench.run()
    assert list(bench.finished) == ["first", "second"]
    assert bench.engine.stats.num_preemptions == 0


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


def test_a_preemption_before_the_first_chunk_recomputes_nothing() -> None:
    bench = Bench(core_settings(VLLM, max_batch_tokens=8))
    bench.submit("first", prompt_of(1, 20), 3, priority=1)
    bench.submit("starved", prompt_of(2, 20), 3, priority=2)
    bench.step()  # both hold blocks, the first takes all of the step's tokens
    bench.submit("urgent", prompt_of(3, 50), 2, priority=0)
    bench.run()
    stats = bench.engine.stats
    assert (stats.num_preemptions, stats.num_recompute_preemptions) == (2, 0)


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
