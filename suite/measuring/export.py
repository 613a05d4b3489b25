"""Writes a run in other tools' shapes: CSV of turns or users, what `vllm bench serve` saves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv

from suite.measuring.engine_run import EngineRun, read_engine
from suite.measuring.latencies import LATENCIES, per_turn
from suite.measuring.users import user_rows
from suite.measuring.vllm_bench import vllm_bench
from suite.measuring.window import measured
from suite.records.reading import read_run
from workloads.errors import InputError

FORMATS = ("csv", "users-csv", "vllm-bench")
TURN_COLUMNS = (
    "repeat",
    "conversation_id",
    "turn",
    "user_id",
    "user_class",
    "scheduled_at",
    "sent_at",
    "first_token_at",
    "last_token_at",
    "done_at",
    "num_prompt_tokens",
    "num_output_tokens",
    "planned_output_tokens",
    "num_chunks",
    "answered_model",
    "system_fingerprint",
    "answered_server",
)


class ExportError(InputError):
    """What is asked for is not in the run. One line."""


def export_run(run: Path, out: Path, *, form: str, engine: str | None, repeat: int) -> None:
    """Writes every engine (CSV) or one trial (vllm-bench). Raises ExportError,
    RunDirectoryError."""
    if form not in FORMATS:
        raise ExportError(f"--format {form!r} is unknown; choose one of: {', '.join(FORMATS)}")
    manifest, plan = read_run(run)
    names = list(manifest.engines) if engine is None else [engine]
    if engine is not None and engine not in manifest.engines:
        choices = ", ".join(manifest.engines)
        raise ExportError(f"{run}: has no engine {engine!r}; choose one of: {choices}")
    rule = measured(plan, manifest.workload)
    engines = {name: read_engine(run, manifest, rule, plan, name) for name in names}
    out.parent.mkdir(parents=True, exist_ok=True)
    match form:
        case "csv":
            with out.open("wb") as file:  # pyarrow would not say why it can not
                pa_csv.write_csv(pa.concat_tables(map(turn_table, engines, engines.values())), file)
        case "users-csv":
            _write_users(engines, out)
        case "vllm-bench":
            document = vllm_bench(manifest, _only_engine(engines, run, repeat), repeat)
            out.write_text(json.dumps(document, allow_nan=False) + "\n")


def _only_engine(engines: Mapping[str, EngineRun], run: Path, repeat: int) -> EngineRun:
    """Returns the only engine, of which the repeat has turns. Raises ExportError."""
    if len(engines) > 1:
        raise ExportError(
            f"--format vllm-bench holds one engine, got {len(engines)}; "
            f"say --engine with one of: {', '.join(engines)}"
        )
    [(name, only)] = engines.items()
    if repeat > len(only.trials):
        raise ExportError(
            f"{run}: engine {name!r} has no repeat {repeat}; choose one of 1 to {len(only.trials)}"
        )
    if not (only.all_turns.repeat == repeat).any():
        raise ExportError(f"repeat {repeat} recorded no turn, there is nothing to write")
    return only


def turn_table(name: str, engine: EngineRun) -> pa.Table:
    """Returns one row a recorded turn, cut or not: instants, counts, latencies, and whether it
    attained."""
    turns = engine.all_turns
    columns: dict[str, Any] = {"engine": [name] * len(turns)}
    columns |= {key: getattr(turns, key) for key in TURN_COLUMNS}
    columns |= {key: per_turn(turns, key) for key in LATENCIES if key != "tbt_s"}
    columns |= {"has_attained_slo": engine.attains_all, "error": turns.error}
    return pa.table({key: pa.array(each, from_pandas=True) for key, each in columns.items()})


def _write_users(engines: Mapping[str, EngineRun], out: Path) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for name, engine in engines.items():
            for row in user_rows(engine.turns, engine.users):
                yield {"engine": name, **row}

    found = list(rows())
    if not found:
        raise ExportError("no user was judged, there is nothing to write")
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(found[0]))
        writer.writeheader()
        writer.writerows(found)
