from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.arrow_log import ArrowLog
from suite.records.turn_records import (
    TURN_SCHEMA,
    TurnRecord,
    read_shards,
    read_started_at,
    read_turns,
    shard_paths,
    turn_row,
    write_table,
)
from tests.turn_files import write_turns

INSTANTS = st.floats(0, 1e6, allow_nan=False)
COUNTS = st.integers(0, 2**31 - 1)
RECORDS = st.builds(
    TurnRecord,
    conversation_id=st.text(max_size=8),
    turn=COUNTS,
    user_id=st.text(max_size=8),
    user_class=st.text(max_size=8),
    priority=st.none() | COUNTS,
    planned_output_tokens=COUNTS,
    scheduled_at=INSTANTS,
    sent_at=st.none() | INSTANTS,
    token_at=st.lists(INSTANTS, max_size=4).map(tuple),
    tokens_per_chunk=st.lists(COUNTS, max_size=4).map(tuple),
    done_at=st.none() | INSTANTS,
    num_prompt_tokens=st.none() | COUNTS,
    num_cached_tokens=st.none() | COUNTS,
    num_output_tokens=st.none() | COUNTS,
    num_coalesced=COUNTS,
    time_source=st.sampled_from(["kernel", "user"]),
    finish_reason=st.none() | st.text(max_size=8),
    error=st.none() | st.text(max_size=8),
)


def record(conversation_id: str, scheduled_at: float, time_source: str = "kernel") -> TurnRecord:
    return TurnRecord(
        conversation_id=conversation_id,
        turn=0,
        user_id="u",
        user_class="standard",
        priority=None,
        planned_output_tokens=1,
        scheduled_at=scheduled_at,
        sent_at=None,
        token_at=(),
        tokens_per_chunk=(),
        done_at=None,
        num_prompt_tokens=None,
        num_cached_tokens=None,
        num_output_tokens=None,
        num_coalesced=0,
        time_source=time_source,
        finish_reason=None,
        error="gone",
    )


@given(st.lists(RECORDS, max_size=5), INSTANTS)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
)
def test_turns_come_back_as_they_were_written_to_the_bit(
    tmp_path: Path, records: list[TurnRecord], started_at: float
) -> None:
    path = tmp_path / "turns.parquet"
    write_turns(path, records, started_at_monotonic_s=started_at)
    assert read_turns(path) == records
    assert read_started_at(path) == started_at


def test_the_columns_are_the_records_fields() -> None:
    assert tuple(TURN_SCHEMA.names) == TurnRecord.__slots__


def test_the_file_says_how_its_instants_were_stamped(tmp_path: Path) -> None:
    path = tmp_path / "turns.parquet"
    write_turns(path, [record("a", 0.0), record("b", 0.0, "user")], started_at_monotonic_s=1.0)
    assert pq.read_schema(path).metadata[b"time_source"] == b"mixed"


def test_shards_are_merged_in_order_of_schedule_also_when_one_was_cut_short(
    tmp_path: Path,
) -> None:
    for number, instants in enumerate([(3.0, 1.0), (2.0, 4.0)]):
        with ArrowLog(tmp_path / f"turns-{number}.arrows", TURN_SCHEMA, rows_per_batch=1) as log:
            for at in instants:
                log.append(turn_row(record(f"c{at:g}", at)))
    cut_short = shard_paths(tmp_path)[1]
    whole = cut_short.read_bytes()
    cut_short.write_bytes(whole[: len(whole) - 60])  # inside the second batch's body
    (tmp_path / "turns-2.arrows").touch()  # a worker that died before it wrote anything
    table = read_shards(tmp_path)
    assert table["scheduled_at"].to_pylist() == [1.0, 2.0, 3.0]


def test_a_run_that_never_started_gives_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "turns.parquet"
    write_table(path, read_shards(tmp_path), started_at_monotonic_s=None)
    assert read_turns(path) == []
    assert read_started_at(path) is None
