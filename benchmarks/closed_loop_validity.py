"""Closed loops without think time against a server that tells the truth: does the driver judge
itself valid, and how long does it take from an answer's end to the next turn?

    python -m benchmarks.closed_loop_validity [--save]

For 2, 16 and 64 streams in turn, several times round (so that what else the machine does falls on
all alike), each stream asks turn after turn: a first token after 60 ms, then one every 15 ms, as
the server's own process paces them. Lateness is sent − scheduled; the client's own time is
scheduled − the end of the answer before.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import print_table, write_result
from suite.driver.calibrate import endpoint, running_server
from suite.driver.play import Drive, DriveResult, play
from suite.records.turn_records import TurnRecord, read_turns
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass

STREAMS = (2, 16, 64)
SCRIPT = {"first_after_s": 0.06, "gap_s": 0.015}
SERVER = ["-m", "suite.driver.truthful_server", "--directory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """What came of one closed loop."""

    num_streams: int
    num_turns: int
    is_valid: bool  # in its bounds, and not late
    lag_p99_s: float | None  # None with fewer than 100 turns
    lag_max_s: float
    own_time_p50_s: float
    own_time_p99_s: float
    merged_ratio: float
    cpu_ratio: float
    warnings: list[str]


def closed_loop(
    directory: Path, port: int, *, num_streams: int, num_turns: int, num_output_tokens: int
) -> Loop:
    """Plays `num_turns` turns on each of so many streams, half of them in a second conversation."""
    directory.mkdir(parents=True)
    plan = _plan(num_streams, num_turns, num_output_tokens, name=directory.name)
    plan.write(directory / "plan.parquet")
    result = play(
        Drive(
            plan_path=directory / "plan.parquet",
            endpoint=endpoint(port, {"script": SCRIPT}),
            directory=directory,
            turn_timeout_s=120.0,
        )
    )
    assert result.counts.recorded == plan.num_turns, (result.counts, result.note)
    assert not result.counts.failed, result.counts
    return _summary(num_streams, result, read_turns(directory / "turns.parquet"))


def _summary(num_streams: int, result: DriveResult, records: Sequence[TurnRecord]) -> Loop:
    quality = result.quality
    own_s = [
        record.scheduled_at - record.planned_at
        for record in records
        if record.turn and record.planned_at is not None
    ]
    p50, p99 = np.quantile(own_s, [0.5, 0.99])
    num_chunks = sum(len(record.token_at) for record in records)
    return Loop(
        num_streams=num_streams,
        num_turns=len(records),
        is_valid=quality.is_valid and not quality.is_late,
        lag_p99_s=quality.lag_p99_s,
        lag_max_s=quality.lag_max_s or 0.0,
        own_time_p50_s=float(p50),
        own_time_p99_s=float(p99),
        merged_ratio=sum(record.num_merged_chunks or 0 for record in records) / num_chunks,
        cpu_ratio=quality.max_cpu_ratio,
        warnings=quality.warnings,
    )


def _plan(num_streams: int, num_turns: int, num_output_tokens: int, *, name: str) -> Plan:
    turn = Turn(
        new_prompt_token_ids=np.arange(64, dtype=np.int32),
        prompt_text=None,
        num_output_tokens=num_output_tokens,
        think_time_s=0.0,
    )
    conversations = [
        Conversation(
            conversation_id=f"{name}-{number}",
            user_id=f"user-{number}",
            user_class="all",
            start_at_s=0.0,
            turns=(turn,) * (num_turns // 2),
        )
        for number in range(2 * num_streams)
    ]
    slo = Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.99, attainment_ratio=0.9)
    return Plan(
        name=name,
        seed=0,
        user_classes=(UserClass(name="all", share_ratio=1.0, slo=slo),),
        conversations=tuple(conversations),
        closed_concurrency=num_streams,
        priorities=None,
    )


def measure(num_rounds: int, *, num_turns: int, num_output_tokens: int) -> list[Loop]:
    with tempfile.TemporaryDirectory() as folder:
        server = Path(folder, "server")
        server.mkdir()
        with running_server([sys.executable, *SERVER, str(server)], server) as port:
            return [
                closed_loop(
                    Path(folder, f"{number}-{num_streams}"),
                    port,
                    num_streams=num_streams,
                    num_turns=num_turns,
                    num_output_tokens=num_output_tokens,
                )
                for number in range(num_rounds)
                for num_streams in STREAMS
            ]


def summary(loops: Sequence[Loop]) -> list[dict[str, Any]]:
    """One row for each number of streams; of several rounds the median."""
    rows = []
    for num_streams in sorted({loop.num_streams for loop in loops}):
        mine = [loop for loop in loops if loop.num_streams == num_streams]
        names = ("lag_max_s", "own_time_p50_s", "own_time_p99_s", "merged_ratio", "cpu_ratio")
        medians: dict[str, float | None] = {
            name: float(np.median([getattr(each, name) for each in mine])) for name in names
        }
        num_valid = sum(loop.is_valid for loop in mine)
        p99s = [loop.lag_p99_s for loop in mine if loop.lag_p99_s is not None]
        medians["lag_p99_s"] = float(np.median(p99s)) if p99s else None
        head = {"num_streams": num_streams, "num_rounds": len(mine), "num_valid": num_valid}
        rows.append({**head, "num_turns": sum(loop.num_turns for loop in mine), **medians})
    return rows


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1e3:.2f} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--turns", type=int, default=8, help="of each stream")
    parser.add_argument("--tokens", type=int, default=250, help="of each answer")
    parser.add_argument("--save", action="store_true", help="write benchmarks/results")
    arguments = parser.parse_args()
    settings = {"num_turns": arguments.turns, "num_output_tokens": arguments.tokens}
    loops = measure(arguments.rounds, **settings)
    rows = summary(loops)
    header = ["streams", "turns", "valid", "lag p99", "lag max", "own p50", "own p99", "merged"]
    shown = [
        (
            row["num_streams"],
            row["num_turns"],
            f"{row['num_valid']}/{row['num_rounds']}",
            *(_milliseconds(row[name]) for name in ("lag_p99_s", "lag_max_s")),
            *(_milliseconds(row[name]) for name in ("own_time_p50_s", "own_time_p99_s")),
            f"{row['merged_ratio']:.3%}",
            f"{row['cpu_ratio']:.2f}",
        )
        for row in rows
    ]
    print_table([*header, "core"], shown)
    for warning in sorted({text for loop in loops for text in loop.warnings}):
        print(warning)
    if arguments.save:
        settings |= {"num_rounds": arguments.rounds, **SCRIPT}
        print(write_result("closed_loop_validity", settings=settings, results=rows))


if __name__ == "__main__":
    main()
