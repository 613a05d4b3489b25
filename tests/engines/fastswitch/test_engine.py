"""The step loop as a whole, on a device whose KV cache can be read back."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engines.api import PriorityUpdates
from engines.fastswitch.device import Direction
from engines.fastswitch.engine import Engine
from engines.fastswitch.request import FinishReason, Phase, Request, SamplingParams
from engines.fastswitch.request_log import RequestRecord, State
from engines.fastswitch.settings import PRESETS, CoreSettings, Mechanisms, Preemption, Reuse
from engines.fastswitch.step_log import StepRecord
from engines.fastswitch.transfer_log import TransferRecord
from tests.engines.fastswitch.async_memory_device import AsyncMemoryDevice
from tests.engines.fastswitch.memory_device import next_token, undisturbed

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
        # Blocks that stay of use after they were copied from are not poisoned.
        poisons = {
            "host_copy": {Direction.SWAP_OUT},
            "prefix": {Direction.SWAP_IN},
        }.get(core.mechanisms.reuse, set(Direction))
        self.device = AsyncMemoryDevice(
            block_size=core.block_size,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            poisons=poisons,
        )
        self.rows: list[StepRecord] = []
        self.requests: dict[str, RequestRecord] = {}
        self.transfers: list[TransferRecord] = []
        self.engine = Engine(
            core,
            self.device,
            clock=self.device.clock,
            priorities=priorities,
            on_step=self.rows.append,
            on_request=self._ended,
            on_transfer=self.transfers.append,
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

    def _ended(self, record: RequestRecord) -> None:
        assert record.request_id not in self.requests, "told twice"
        check_latency(record)
        self.requests[record.request_id] = record

    def run(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            if not self.engine.has_work:
                return
            self.step()
        pytest.fail(f"still live after {max_steps} steps: {self.engine.stats}")


def check_latency(record: RequestRecord) -> None:
    """Its spans cover its life without a gap, change at every border, and add up to its shares."""
    spans = record.spans
    if spans:
        assert (spans[0].began_at, spans[-1].ended_at) == (record.arrived_at, record.finished_at)
    for before, after in itertools.pairwise(spans):
        assert before.ended_at == after.began_at
        assert before.state is not after.state, "one span in two pieces"
    shares = {f"{state}_s": getattr(record, f"{state}_s") for state in State}
    assert sum(shares.values()) == pytest.approx(record.finished_at - record.arrived_at)
    for state in State:
        spent = [span.ended_at - span.began_at for span in spans if span.state is state]
        assert shares[f"{state}_s"] == pytest.approx(sum(spent))
        assert all(each > 0 for each in spent)


def prompt_of(seed: int, num_tokens: int) -> list[int]:
    return [(seed * 977 + i * 31) % 5000 for i in range(num_tokens)]


VLLM = PRESETS["vllm-0.3"]
FIELDS = ("policy", "allocator", "swap", "preemption", "reuse", "copy")
ARMS = {
    "-".join(names): replace(VLLM, **dict(zip(FIELDS, names, strict=True)))
    for names in itertools.product(
        ("fcfs", "priority"),
        ("paged", "sorted", "block_group"),
        ("sync", "async", "adaptive"),
        ("swap", "recompute"),
        ("none", "host_swap", "host_copy", "prefix"),
        ("per_block", "merged"),
    )
}
ARMS |= {
    f"{name}-backfill": replace(arm, admission="backfill")
    for name, arm in ARMS.items()
    if (arm.allocator, arm.copy) == ("block_group", "merged")
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
    mechanisms = ARMS[arm]
    if mechanisms.policy == "priority":
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
            bench.submit(name, prompt, num_tokens, conversation_id=f"c{who}", priority=priority)
            expected[name] = undisturbed(prompt, num_tokens)
            histories[who] = prompt + expected[name]
        elif what == "steps":
            for _ in range(num_prompt):
                if bench.engine.has_work:
                    bench.step()
        else:
            stop = bench.engine.abort if what == "abort" else bench.engine.end
            was_live = bench.engine.is_live(f"r{num_prompt}")
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


BACKFILL = replace(VLLM, admission="backfill")


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


def test_a_transfer_that_fails_ends_the_engine_loudly() -> None:
    bench = Bench(core_settings(replace(VLLM, swap="async")))
    bench.submit("slow", prompt_of(1, 40), 20, priority=5)
    bench.step()
    bench.step()
    bench.submit("urgent", prompt_of(2, 40), 3, priority=0)
    bench.device.fault = RuntimeError("the copy thread died")
    with pytest.raises(RuntimeError, match="the copy thread died"):
        bench.run()


PREFIX = replace(VLLM, reuse="prefix", preemption="recompute")


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
