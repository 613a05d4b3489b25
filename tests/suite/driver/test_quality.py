from __future__ import annotations

from dataclasses import replace

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
)


def quality_of(*records: TurnRecord, cpu_ratio: float = 0.1, slo_s: float = 1.0) -> DriverQuality:
    table = pa.Table.from_pylist([turn_row(record) for record in records], schema=TURN_SCHEMA)
    return judge(table, num_workers=1, max_cpu_ratio=cpu_ratio, tightest_ttft_slo_s=slo_s)


def test_a_good_run_is_valid_without_a_warning() -> None:
    quality = quality_of(*[GOOD] * 20)
    assert quality.is_valid
    assert quality.warnings == []
    assert quality.time_source == "kernel"
    assert quality.lag_p99_s == pytest.approx(0.0001)


def test_turns_sent_late_make_a_run_invalid() -> None:
    quality = quality_of(*[replace(GOOD, sent_at=1.0021)] * 5)
    assert not quality.is_valid
    [warning] = quality.warnings
    assert warning.startswith("turns were sent late: p99 of sent − scheduled is 0.0021 s")


def test_a_tight_slo_tightens_the_bound_on_lag() -> None:
    assert max_lag_s(None) == max_lag_s(1.0) == 0.002
    assert max_lag_s(0.01) == pytest.approx(0.0005)
    late = replace(GOOD, sent_at=1.001)
    assert quality_of(late, slo_s=1.0).is_valid
    assert not quality_of(late, slo_s=0.01).is_valid


def test_merged_reads_make_a_run_invalid() -> None:
    assert quality_of(*[GOOD] * 999, replace(GOOD, num_coalesced=2)).is_valid
    quality = quality_of(*[GOOD] * 99, replace(GOOD, num_coalesced=1))
    assert not quality.is_valid
    assert quality.coalesced_ratio == pytest.approx(1 / 300)
    assert "use more workers" in quality.warnings[0]


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
    assert warning.startswith("1 turns streamed another number of tokens")
    [warning] = quality_of(GOOD, replace(GOOD, planned_output_tokens=9)).warnings
    assert warning.startswith("1 turns got another number of tokens than planned")


def test_failed_turns_and_turns_without_usage_are_not_held_against_the_counts() -> None:
    failed = replace(GOOD, error="gone", num_output_tokens=1)
    silent = replace(GOOD, num_output_tokens=None)
    assert quality_of(failed, silent).warnings == []


def test_nothing_recorded_is_nothing_to_doubt() -> None:
    quality = quality_of()
    assert quality.is_valid
    assert quality.lag_p99_s is None
    assert quality.time_source == "none"
