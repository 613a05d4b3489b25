"""How far the driver's instants are off on this machine: it drives a server that tells the truth,
and each of its stamps is held against the server's own, taken just before the write.

Both stand on one CLOCK_MONOTONIC. What is measured is everything between the server's write and
the driver's record of it: the loopback, the kernel's stamp, the mapping of events to reads.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import suite
from engines.api import Endpoint
from suite.driver.play import Drive, play
from suite.errors import RunError
from suite.records.turn_records import read_started_at, read_turns
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass

_SERVER_START_TIMEOUT_S = 60.0
_RAMP_S = 1.0  # over which the streams start


class CalibrationError(RunError):
    """The measurement could not be made. One line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Error = the driver's stamp − the server's, of each token of each stream."""

    num_streams: int
    tokens_per_s: float  # over all streams
    num_tokens: int
    error_p50_s: float
    error_p99_s: float
    error_p999_s: float
    error_max_s: float
    lag_max_s: float | None  # of so few turns that there is no P99
    coalesced_ratio: float
    cpu_ratio: float  # the busiest worker's
    time_source: str


def calibrate(
    directory: Path,
    *,
    num_streams: int,
    tokens_per_s: float,
    duration_s: float = 5.0,
    num_workers: int = 1,
) -> Calibration:
    """`tokens_per_s` is each stream's. Raises CalibrationError."""
    directory.mkdir(parents=True, exist_ok=True)
    num_tokens = max(2, round(tokens_per_s * duration_s))
    plan = _plan(num_streams, num_tokens)
    plan.write(directory / "plan.parquet")
    script = {"first_after_s": 0.05, "gap_s": 1 / tokens_per_s}
    command = [sys.executable, "-m", "suite.driver.truthful_server", "--directory", str(directory)]
    with running_server(command, directory) as port:
        drive = Drive(
            plan_path=directory / "plan.parquet",
            endpoint=endpoint(port, {"script": script}),
            directory=directory / "driver",
            turn_timeout_s=duration_s + 60,
            num_workers=num_workers,
        )
        result = play(drive)
    if result.counts.recorded != num_streams or result.counts.failed:
        raise CalibrationError(
            f"calibration: {result.counts} of {num_streams} turns, {result.note}; "
            f"see {drive.directory}"
        )
    error_s = errors_s(directory / "driver" / "turns.parquet", directory / "truth.jsonl")
    p50, p99, p999 = np.quantile(error_s, [0.5, 0.99, 0.999])
    return Calibration(
        num_streams=num_streams,
        tokens_per_s=num_streams * tokens_per_s,
        num_tokens=len(error_s),
        error_p50_s=float(p50),
        error_p99_s=float(p99),
        error_p999_s=float(p999),
        error_max_s=float(error_s.max()),
        lag_max_s=result.quality.lag_max_s,
        coalesced_ratio=result.quality.coalesced_ratio,
        cpu_ratio=result.quality.max_cpu_ratio,
        time_source=result.quality.time_source,
    )


def errors_s(turns_path: Path, truth_path: Path) -> npt.NDArray[np.float64]:
    """Returns by how much each chunk's stamp is off. Raises CalibrationError if one is missing."""
    started_at = read_started_at(turns_path)
    written_at = read_truth(truth_path)
    errors = [np.empty(0)]
    for turn in read_turns(turns_path):
        written = written_at[turn.conversation_id, turn.turn]
        if started_at is None or len(written) != len(turn.token_at):
            raise CalibrationError(
                f"calibration: {turn.conversation_id} has {len(turn.token_at)} stamps of "
                f"{len(written)} chunks written; see {turns_path}"
            )
        errors.append(np.asarray(turn.token_at) + started_at - np.asarray(written))
    return np.concatenate(errors)


def read_truth(path: Path) -> dict[tuple[str, int], list[float]]:
    """(conversation id, turn) → the instants just before its chunks were written."""
    return {(row["conversation_id"], row["turn"]): row["token_at"] for row in truth_rows(path)}


def truth_rows(path: Path) -> list[dict[str, Any]]:
    """Those that are whole: the server may be writing the last one now."""
    *lines, _ = path.read_text().split("\n")
    return [json.loads(line) for line in lines]


def endpoint(port: int, extra_body: dict[str, object]) -> Endpoint:
    """The truthful server's."""
    return Endpoint(
        base_url=f"http://127.0.0.1:{port}/v1",
        model="truthful",
        api="completions",
        prompt_form="token_ids",
        api_key=None,
        extra_body=extra_body,
        is_fsbench=True,
        applies_priority_trace=False,
        takes_priority=False,
    )


@contextmanager
def running_server(command: Sequence[str], directory: Path) -> Iterator[int]:
    """Yields the port of a truthful server that `command` starts, and kills it in the end."""
    announcement = directory / "server.json"
    announcement.unlink(missing_ok=True)
    source = str(Path(suite.__file__).parent.parent)
    with subprocess.Popen(command, cwd=source, start_new_session=True) as process:
        try:
            deadline = time.monotonic() + _SERVER_START_TIMEOUT_S
            while not announcement.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise CalibrationError(
                        f"calibration: the truthful server did not start: {' '.join(command)}"
                    )
                time.sleep(0.02)
            yield json.loads(announcement.read_text())["port"]
        finally:
            process.kill()


def _plan(num_streams: int, num_tokens: int) -> Plan:
    turn = Turn(
        new_prompt_token_ids=np.arange(16, dtype=np.int32),
        prompt_text=None,
        num_output_tokens=num_tokens,
        think_time_s=0.0,
    )
    conversations = [
        Conversation(
            conversation_id=f"stream-{number}",
            user_id=f"user-{number}",
            user_class="calibration",
            start_at_s=_RAMP_S * number / num_streams,
            turns=(turn,),
        )
        for number in range(num_streams)
    ]
    slo = Slo(ttft_s=1.0, tbt_s=1.0, tbt_percentile=0.99, attainment_ratio=1.0)
    return Plan(
        name="calibration",
        seed=0,
        user_classes=(UserClass(name="calibration", share_ratio=1.0, slo=slo),),
        conversations=tuple(conversations),
        closed_concurrency=None,
        priorities=None,
    )
