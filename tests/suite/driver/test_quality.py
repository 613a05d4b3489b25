from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest

from suite.driver.quality import judge, max_lag_s
from suite.records.run_directory import DriverQuality
from suite.records.turn_records import TURN_SCHEMA, TurnRecord, turn_row

GOOD = TurnRecord(
    conversation_id="c",
    turn=0,
    user_id="u",
    user_class="standard",
    priority=None,
    planned_output_tokens=3,
    scheduled_at=1.0,
    sent_at=1.0001,
    token_at=(1.1, 1.2, 1.3),
    tokens_per_chunk=(1, 1, 1),
    done_at=1.3,
    num_prompt_tokens=4,
    num_cached_tokens=0,
    num_output_tokens=3,
    num_coalesced=0,
    time_source="kernel",
    finish_reason="length",
    error=None,
    planned_at=1.0,
    counted_by="usage",
    num_shared_chunks=0,
    num_merged_chunks=0,
)


def quality_of(*records: TurnRecord, cpu_ratio: float = 0.1, slo_s: float = 1.0) -> DriverQuality:
    table = pa.Table.from_pylist([turn_row(record) for record in records], schema=TURN_SCHEMA)
    return judge(table, num_workers=1, max_cpu_ratio=cpu_ratio, tightest_ttft_slo_s=slo_s)


def test_a_good_run_is_valid_without_a_warning() -> None:
    quality = quality_of(*[GOOD] * 20)
    assert quality.is_valid
    assert quality.warnings == []
    assert quality.time_source == "kernel"
    assert quality.lag_max_s == pytest.approx(0.0001)
    assert not quality.is_late


def test_turns_sent_late_are_told_and_leave_the_rest_valid() -> None:
    quality = quality_of(*[replace(GOOD, sent_at=1.0021)] * 5)
    assert quality.is_valid
    assert quality.is_late
    [warning] = quality.warnings
    assert warning.startswith(
        "5 turns of 5 were sent more than 0.002 s late, the latest by 0.0021 s: what that could"
    )


def test_the_p99_of_few_turns_is_not_their_maximum() -> None:
    late = replace(GOOD, sent_at=1.05)
    few = quality_of(*[GOOD] * 47, late)
    assert (few.lag_p99_s, few.lag_max_s, few.is_late) == (None, pytest.approx(0.05), False)
    assert few.warnings == []
    many = quality_of(*[GOOD] * 99, late)
    assert many.lag_p99_s == pytest.approx(0.0001)


@pytest.mark.parametrize(
    ("num_turns", "num_late", "is_late"),
    [
        *[(48, 1, False), (48, 2, False), (48, 3, True), (104, 3, False), (104, 4, True)],
        *[(1, 1, True), (1000, 15, False), (1000, 16, True)],  # by chance: 1 %, 8.2 %, 4.8 %
    ],
)
def test_so_many_late_turns_may_be_chance(num_turns: int, num_late: int, is_late: bool) -> None:
    late = replace(GOOD, sent_at=1.05)
    assert quality_of(*[GOOD] * (num_turns - num_late), *[late] * num_late).is_late is is_late


def test_a_tight_slo_tightens_the_bound_on_lag() -> None:
    assert max_lag_s(None) == max_lag_s(1.0) == 0.002
    assert max_lag_s(0.01) == pytest.approx(0.0005)
    late = replace(GOOD, sent_at=1.001)
    assert not quality_of(late, slo_s=1.0).is_late
    assert quality_of(late, slo_s=0.01).is_late


def shared(num: int, *, merged: int | None) -> TurnRecord:
    return replace(GOOD, num_coalesced=1, num_shared_chunks=num, num_merged_chunks=merged)


def test_chunks_read_together_late_are_doubts_of_tbt_alone() -> None:
    few = quality_of(*[GOOD] * 999, shared(3, merged=3))
    assert few.tbt_doubt is None
    assert few.coalesced_ratio == few.merged_ratio == pytest.approx(3 / 3000)
    quality = quality_of(*[GOOD] * 99, shared(3, merged=3))
    assert quality.is_valid
    assert quality.merged_ratio == pytest.approx(3 / 300)
    assert quality.tbt_doubt is not None
    assert "use more workers" in quality.tbt_doubt
    assert quality.warnings == [quality.tbt_doubt]


def test_a_single_merged_read_of_a_small_run_may_be_chance() -> None:
    pair = shared(2, merged=2)
    assert quality_of(*[GOOD] * 533, pair).tbt_doubt is None  # 2 of 1,602 chunks
    assert quality_of(*[GOOD] * 533, *[pair] * 3).tbt_doubt is not None


def test_chunks_of_which_nobody_knows_how_they_came_are_put_down_to_the_driver() -> None:
    assert quality_of(shared(3, merged=None)).merged_ratio == 1.0


def test_chunks_that_came_together_are_doubts_of_the_stream() -> None:
    """A whole answer in one write is one read, but every one of its chunks shares it."""
    quality = quality_of(shared(3, merged=0))
    assert quality.is_valid
    assert (quality.coalesced_ratio, quality.merged_ratio) == (1.0, 0.0)
    assert quality.tbt_doubt is not None
    assert "the stream is buffered on its way" in quality.tbt_doubt
    assert "workers" not in quality.tbt_doubt
    mostly = quality_of(*[shared(3, merged=0)] * 9, shared(3, merged=2))
    assert mostly.tbt_doubt is not None
    assert "workers" not in mostly.tbt_doubt  # it would not help
    assert quality_of(*[GOOD] * 200, shared(2, merged=0)).tbt_doubt is None


def test_turns_that_failed_in_the_driver_make_a_run_invalid() -> None:
    own = replace(GOOD, error="no descriptor left (ulimit -n 64)", error_source="driver")
    theirs = replace(GOOD, error="gone", error_source="server")
    assert quality_of(GOOD, theirs).is_valid
    quality = quality_of(GOOD, own)
    assert not quality.is_valid
    [warning] = quality.warnings
    assert warning.startswith("1 turn failed in the driver itself")
    assert "ulimit -n" in warning


def test_the_clients_own_time_is_no_lateness() -> None:
    quick = replace(GOOD, turn=1, planned_at=0.999)
    assert quality_of(*[quick] * 9).warnings == []
    slow = replace(GOOD, turn=1, planned_at=0.9)
    quality = quality_of(*[slow] * 9)
    assert quality.is_valid
    assert quality.own_time_p99_s is None
    assert quality_of(*[slow] * 100).own_time_p99_s == pytest.approx(0.1)
    [remark] = quality.warnings
    assert "the client itself took up to 0.1000 s" in remark


def test_a_worker_near_the_end_of_its_core_makes_a_run_invalid() -> None:
    assert quality_of(GOOD, cpu_ratio=0.7).is_valid
    quality = quality_of(GOOD, cpu_ratio=0.71)
    assert not quality.is_valid
    assert "0.71 of a core" in quality.warnings[0]


def test_user_space_stamps_are_remarked_but_valid() -> None:
    quality = quality_of(GOOD, replace(GOOD, time_source="user"))
    assert quality.is_valid
    assert quality.time_source == "mixed"
    assert "stamped in user space" in quality.warnings[0]


def test_counts_that_disagree_with_usage_or_plan_are_remarked() -> None:
    quality = quality_of(GOOD, replace(GOOD, num_output_tokens=4, planned_output_tokens=4))
    assert quality.is_valid
    [warning] = quality.warnings
    assert warning.startswith("1 turn streamed another number of tokens")
    [warning] = quality_of(GOOD, replace(GOOD, planned_output_tokens=9)).warnings
    assert warning.startswith("1 turn got another number of tokens than planned")


@pytest.mark.parametrize(("asks", "advice"), [(False, "let it ignore"), (True, "min_tokens")])
def test_answers_that_the_server_ended_early_are_counted_and_said(asks: bool, advice: str) -> None:
    early = replace(GOOD, planned_output_tokens=9, finish_reason="stop")
    table = pa.Table.from_pylist([turn_row(early), turn_row(GOOD)], schema=TURN_SCHEMA)
    quality = judge(
        table, num_workers=1, max_cpu_ratio=0.1, tightest_ttft_slo_s=1.0, asks_ignore_eos=asks
    )
    [warning] = quality.warnings
    assert warning.startswith("1 turn ended by the server's own choice before the planned length")
    assert advice in warning


def test_chunks_that_were_counted_for_tokens_are_said() -> None:
    chunks = replace(GOOD, num_output_tokens=None, counted_by="chunks", planned_output_tokens=9)
    [warning] = quality_of(GOOD, chunks, chunks).warnings
    assert warning.startswith("2 turns came with neither usage nor token ids: chunks were counted")


def test_hidden_thought_is_said() -> None:
    [warning] = quality_of(replace(GOOD, num_hidden_tokens=500), GOOD).warnings
    assert warning.startswith("1 turn had 500 tokens of hidden thought")


def test_failed_turns_and_turns_without_usage_are_not_held_against_the_counts() -> None:
    failed = replace(GOOD, error="gone", num_output_tokens=1)
    silent = replace(GOOD, num_output_tokens=None)
    assert quality_of(failed, silent).warnings == []


def test_nothing_recorded_is_nothing_to_doubt() -> None:
    quality = quality_of()
    assert quality.is_valid
    assert quality.lag_p99_s is None
    assert quality.time_source == "none"


def burst(*sizes: int, gap_s: float = 0.015, **others: object) -> TurnRecord:
    """An answer whose reads hold so many chunks of a token each, one read after another."""
    token_at = tuple(1.1 + read * gap_s for read, size in enumerate(sizes) for _ in range(size))
    num, shared = len(token_at), sum(size for size in sizes if size > 1)
    counts: dict[str, Any] = {
        "planned_output_tokens": num,
        "num_output_tokens": num,
        "tokens_per_chunk": (1,) * num,
        "num_shared_chunks": shared,
        "done_at": token_at[-1],
    }
    return replace(GOOD, token_at=token_at, **(counts | others))


@pytest.mark.parametrize(
    ("sizes", "doubts_tbt", "doubts_tpot"),
    [
        ((1,) * 250, False, False),
        ((250,), True, True),  # a whole answer in one write
        ((4,) * 2, True, True),
        ((8, 8, 8), True, True),
        ((1, 4, 4, 4), True, False),  # from the first token to the last it took as long as it took
        ((1,) * 249 + (2,), False, False),
        ((2,) + (1,) * 400, False, False),  # a quarter of a per cent
    ],
)
def test_tokens_that_came_with_the_first_one_put_tpot_in_doubt(
    sizes: tuple[int, ...], doubts_tbt: bool, doubts_tpot: bool
) -> None:
    quality = quality_of(*[burst(*sizes)] * 8)
    assert (quality.tbt_doubt is not None, quality.tpot_doubt is not None) == (
        doubts_tbt,
        doubts_tpot,
    )
    assert quality.is_valid


def test_a_burst_of_single_reads_puts_tpot_in_doubt_as_one_read_does() -> None:
    at_once = burst(*[1] * 50, gap_s=3e-5, num_shared_chunks=50)
    quality = quality_of(*[at_once] * 8)
    assert quality.tbt_doubt is not None
    assert quality.tpot_doubt is not None
    assert quality.tpot_doubt.startswith("100.0% of the tokens")
    quick = burst(*[1] * 50, gap_s=1e-3)
    assert quality_of(*[quick] * 8).tpot_doubt is None


def test_a_first_event_of_several_tokens_puts_tpot_in_doubt_too() -> None:
    told = replace(GOOD, tokens_per_chunk=(4, 4), token_at=(1.1, 1.2), num_output_tokens=8)
    hidden = replace(told, tokens_per_chunk=(1, 1))  # the server counts them, the events do not
    for each in (told, hidden):
        doubt = quality_of(each).tpot_doubt
        assert doubt is not None
        assert doubt.startswith("42.9% of the tokens after an answer's first one came together")
    one_off = replace(GOOD, num_output_tokens=4, planned_output_tokens=4)
    assert quality_of(one_off).tpot_doubt is None


def test_over_tls_nobody_is_blamed_for_chunks_that_share_a_read() -> None:
    quality = quality_of(*[burst(1, 7, num_merged_chunks=None, time_source="user")] * 8)
    assert quality.tbt_doubt is not None
    assert "over TLS nobody can tell whose" in quality.tbt_doubt
    assert quality.tpot_doubt is None
