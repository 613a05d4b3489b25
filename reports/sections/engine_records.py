"""One engine's records, as the sections of a run's page read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from suite.measuring.attainment import Attainment
from suite.measuring.engine_run import read_engine
from suite.measuring.window import measured
from suite.records.engine_logs import EngineLogs, read_engine_logs
from suite.records.run_directory import Manifest
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats
from workloads.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRecords:
    """Holds all that was recorded of one engine; a section keeps the little that it draws."""

    plan: Plan  # what is measured of it
    turns: TurnTable  # what is measured, of all repeats
    all_turns: TurnTable  # with those before and after the measured window
    users: Attainment
    repeat: int  # the first that was recorded: what can show only one repeat shows this one
    logs: Sequence[tuple[int, EngineLogs]]  # (repeat, the engine's own logs of it), whole


def read_records(run: Path, manifest: Manifest, plan: Plan, name: str) -> EngineRecords:
    """Returns what was recorded of one engine in all its repeats."""
    engine = read_engine(run, manifest, measured(plan, manifest.workload), plan, name)
    return EngineRecords(
        plan=engine.measured.plan,
        turns=engine.turns,
        all_turns=engine.all_turns,
        users=engine.users,
        repeat=engine.trials[0].repeat if engine.trials else 1,
        logs=[(trial.repeat, read_engine_logs(trial.directory(run))) for trial in engine.trials],
    )


class MissingColumnError(Exception):
    """Says that a log of an older version lacks a column: what is drawn of it is left out, and
    named."""


@contextmanager
def reading(log: str) -> Iterator[None]:
    """Raises MissingColumnError in place of pyarrow's KeyError for a column that the log lacks."""
    try:
        yield
    except KeyError as missing:
        said = str(missing.args[0])  # pyarrow: a sentence with the name in quotes; a dict: the name
        column = said.split('"')[1] if '"' in said else said
        raise MissingColumnError(
            f"{log}.parquet has no column {column}: it was written by another version; "
            "what is drawn of it is left out"
        ) from None


def column(table: pa.Table, name: str) -> Floats:
    """Returns a column of a log as floats, shape [num_rows]."""
    values: Floats = table[name].to_numpy().astype(np.float64)
    return values
