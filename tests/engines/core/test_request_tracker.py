"""How a request's latency was spent: known answers on a device whose time is virtual.

A step of the model lasts 10 ms, a copy 1 ms, and a block (4 tokens) 1 ms more. That the states of
every request add up is checked by the bench itself, in the tests of the engine too.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from engines.core.device import Direction
from engines.core.policies.settings import POLICIES
from engines.core.request import FinishReason
from engines.core.request_log import RequestRecord, State
from engines.core.transfer_log import TransferRecord, Waited
from tests.engines.core.bench import PREFIX, VLLM, Bench, core_settings, prompt_of

Q, P, W = State.QUEUED, State.PREEMPTED, State.SWAP_WAIT
H, S, C = State.HELD, State.STALLED, State.COMPUTING


def spans(record: RequestRecord) -> list[tuple[State, float]]:
    """(state, milliseconds) in order."""
    return [
        (span.state, pytest.approx(1000 * (span.ended_at - span.began_at))) for span in record.spans
    ]


def displaced(swap: str) -> Bench:
    """`slow` computes for four steps (42 tokens: 11 blocks), `urgent` takes its place for five."""
    bench = Bench(core_settings(replace(VLLM, swap=swap, copy="merged", reuse="none")))
    bench.submit("slow", prompt_of(1, 40), 8, priority=5)
    for _ in range(4):
        bench.step()
    bench.submit("urgent", prompt_of(2, 40), 4, priority=0)
    bench.run()
    return bench


def test_alone_a_request_computes_all_the_time() -> None:
    bench = Bench(core_settings(VLLM))
    bench.submit("only", prompt_of(1, 30), 5)
    bench.run()
    record = bench.requests["only"]
    assert spans(record) == [(C, 60)]  # two chunks of the prompt, the second gives the first token
    assert (record.first_token_at, record.finished_at) == (
        pytest.approx(0.02),
        pytest.approx(0.06),
    )
    assert (record.num_prompt_tokens, record.num_output_tokens) == (30, 5)
    assert record.finish_reason is FinishReason.LENGTH


def test_waiting_before_the_first_step_is_queued_and_no_state_else() -> None:
    bench = Bench(core_settings(replace(VLLM, policy=POLICIES["fcfs"]())))
    bench.submit("first", prompt_of(1, 50), 10)
    bench.submit("second", prompt_of(2, 50), 2)
    bench.run()
    first, second = bench.requests["first"], bench.requests["second"]
    # From the step in which the first has ended until the next, nothing passes in virtual time.
    assert spans(second) == [(Q, 1000 * first.finished_at), (C, 40)]
    assert second.queued_s == pytest.approx(first.finished_at)


def test_synchronously_the_sent_away_is_preempted_and_who_takes_its_place_is_stalled() -> None:
    bench = displaced("sync")
    slow, urgent = bench.requests["slow"], bench.requests["urgent"]
    # 11 blocks in one copy: 12 ms each way. `urgent` is in the batch of the step that waits.
    assert spans(urgent) == [(S, 12), (C, 50)]
    assert spans(slow) == [(C, 40), (P, 12 + 50), (W, 12), (C, 50)]
    assert slow.num_preemptions == 1
    assert (slow.preempted_s, slow.swap_wait_s) == (pytest.approx(0.062), pytest.approx(0.012))


def test_when_nothing_else_can_run_asynchronous_transfers_are_waited_for_too() -> None:
    bench = displaced("async")
    out, back = bench.transfers
    assert (out.direction, back.direction) == (Direction.SWAP_OUT, Direction.SWAP_IN)
    # `urgent` needs the blocks that go out; `slow` comes back to an idle device.
    assert (out.waited, back.waited) == (Waited.IN_CONFLICT, Waited.BY_CHOICE)
    assert spans(bench.requests["urgent"]) == [(S, 12), (C, 50)]
    assert spans(bench.requests["slow"]) == [(C, 40), (P, 62), (W, 12), (C, 50)]


def test_while_its_kv_is_under_way_a_request_waits_and_the_others_compute() -> None:
    bench = Bench(core_settings(replace(VLLM, swap="async", copy="merged", allocator="sorted")))
    bench.submit("t0", prompt_of(1, 20), 2, conversation_id="c")
    bench.run()
    bench.device.now += 1
    bench.engine.poll()
    bench.submit("steady", prompt_of(2, 8), 16)
    bench.step()
    bench.submit("t1", [*prompt_of(1, 20), *bench.tokens["t0"], 9], 2, conversation_id="c")
    bench.run()
    # 21 tokens: 6 blocks in one copy, 7 ms; seen after the step of 10 ms that ran meanwhile
    assert spans(bench.requests["t1"]) == [(W, 10), (C, 20)]
    assert spans(bench.requests["steady"]) == [(C, 160)]
    coming = next(each for each in bench.transfers if each.direction is Direction.SWAP_IN)
    assert (coming.request_id, coming.conversation_id) == ("t1", "c")
    assert (coming.waited, coming.waited_s, coming.num_blocks) == (Waited.NO, 0.0, 6)
    assert coming.copied_at - coming.copying_at == pytest.approx(0.007)
    assert coming.landed_at - coming.began_at == pytest.approx(0.010)


def test_on_the_device_but_beyond_the_token_budget_a_request_is_held() -> None:
    bench = Bench(core_settings(VLLM, max_batch_tokens=8))
    bench.submit("first", prompt_of(1, 24), 1)
    bench.submit("second", prompt_of(2, 8), 1)
    bench.run()
    assert spans(bench.requests["second"]) == [(H, 30), (C, 10)]


def test_a_dropped_request_is_preempted_and_then_computes_again() -> None:
    bench = Bench(core_settings(PREFIX))
    bench.submit("slow", prompt_of(1, 40), 8, priority=5)
    for _ in range(4):
        bench.step()
    bench.submit("urgent", prompt_of(2, 40), 4, priority=0)
    bench.run()
    record = bench.requests["slow"]
    assert [state for state, _ in spans(record)] == [C, P, C]
    assert record.preempted_s == bench.requests["urgent"].computing_s == pytest.approx(0.05)


def test_an_aborted_request_is_told_with_what_it_was_doing() -> None:
    bench = Bench(core_settings(replace(VLLM, policy=POLICIES["fcfs"]())))
    bench.submit("first", prompt_of(1, 50), 10)
    bench.submit("second", prompt_of(2, 50), 2)
    for _ in range(3):
        bench.step()
    for name in ("first", "second"):
        bench.engine.abort(name)
    first, second = bench.requests["first"], bench.requests["second"]
    assert (first.finish_reason, spans(first)) == (FinishReason.ABORT, [(C, 30)])
    assert (second.first_token_at, spans(second)) == (None, [(Q, 30)])


@pytest.mark.parametrize("swap", ["sync", "async", "adaptive"])
def test_the_transfers_add_up_to_the_step_log(swap: str) -> None:
    mechanisms = replace(VLLM, swap=swap, copy="merged", allocator="block_group")
    bench = Bench(core_settings(mechanisms))
    for i in range(8):
        bench.submit(f"r{i}", prompt_of(i, 20), 10, priority=8 - i, conversation_id=f"c{i}")
        bench.step()
    bench.run()
    bench.submit("last", prompt_of(9, 40), 3)  # whatever was left by the last step is in its row
    bench.run()
    bench.device.now += 1
    bench.engine.poll()

    def logged(name: str) -> float:
        return sum(getattr(row, name) for row in bench.rows)

    def moved(direction: Direction) -> int:
        return sum(each.num_blocks for each in bench.transfers if each.direction is direction)

    assert moved(Direction.SWAP_OUT) == logged("num_swap_out_blocks") > 0
    assert moved(Direction.SWAP_IN) == logged("num_swap_in_blocks") > 0
    assert total(bench, "num_bytes") == logged("num_copied_bytes")
    assert total(bench, "num_copy_runs") == logged("num_copy_runs")
    assert total(bench, "waited_s") + total(bench, "dispatch_s") == pytest.approx(logged("stall_s"))
    in_conflict = [each for each in bench.transfers if each.waited is Waited.IN_CONFLICT]
    assert len(in_conflict) == logged("num_conflicts")
    for each in bench.transfers:
        assert each.began_at <= each.copying_at <= each.copied_at <= each.landed_at + 1e-9


def total(bench: Bench, name: str) -> float:
    return sum(getattr(each, name) for each in bench.transfers)


def test_group_counts_of_both_pools_are_in_the_step_log() -> None:
    mechanisms = replace(VLLM, allocator="block_group")
    bench = Bench(core_settings(mechanisms, group_tokens=16))
    for i in range(8):
        bench.submit(f"r{i}", prompt_of(i, 9), 12, priority=8 - i)
        bench.step()
    bench.run()
    counts = bench.engine.kv.device.counts + bench.engine.kv.host.counts
    logged = [
        sum(getattr(row, name) for row in bench.rows)
        for name in ("num_new_groups", "num_grown_groups", "num_group_splits")
    ]
    assert logged == [counts.num_groups, counts.num_grown, counts.num_splits]
    assert counts.num_groups > 0 and counts.num_grown + counts.num_splits > 0


def test_transfer_records_name_whose_kv_was_moved() -> None:
    bench = displaced("sync")
    moved: list[TransferRecord] = bench.transfers
    assert {(each.request_id, each.conversation_id) for each in moved} == {("slow", None)}
    assert {each.num_copy_runs for each in moved} == {1}
