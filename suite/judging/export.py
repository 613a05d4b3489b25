"""A run in other tools' shapes: CSV of turns or users, and what `vllm bench serve` saves."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from suite.measuring.engine_run import EngineRun, read_engine
from suite.measuring.latencies import LATENCIES, per_turn
from suite.measuring.users import user_rows
from suite.measuring.window import measured
from suite.records.reading import read_run
from suite.records.run_directory import Manifest
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats
from workloads.errors import InputError
from workloads.plan import Plan

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
)


class ExportError(InputError):
    """What is asked for is not in the run. One line."""


def export_run(run: Path, out: Path, *, form: str, engine: str | None, repeat: int) -> None:
    """Every engine (CSV) or one trial (vllm-bench). Raises ExportError, RunDirectoryError."""
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
            if len(names) > 1:
                raise ExportError(
                    f"--format vllm-bench holds one engine, got {len(names)}; "
                    f"say --engine with one of: {', '.join(names)}"
                )
            only = engines[names[0]]
            if repeat > len(only.trials):
                raise ExportError(
                    f"{run}: engine {names[0]!r} has no repeat {repeat}; choose one of 1 to "
                    f"{len(only.trials)}"
                )
            document = vllm_bench(manifest, only, repeat)
            out.write_text(json.dumps(document, allow_nan=False) + "\n")


def turn_table(name: str, engine: EngineRun) -> pa.Table:
    """One row a recorded turn, cut or not: instants, counts, latencies, and whether it attained."""
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


def vllm_bench(manifest: Manifest, engine: EngineRun, repeat: int) -> dict[str, Any]:
    """The keys of `vllm bench serve --save-result --save-detailed` (vllm/benchmarks/serve.py), in
    its units (milliseconds for summaries) and by its definitions: percentiles interpolated as
    numpy does by default, latency up to the last token, `duration` from first to last, requests
    and not conversations. A turn is a request. Raises ExportError where nothing was recorded."""
    turns = engine.all_turns.where(engine.all_turns.repeat == repeat)
    if not len(turns):
        raise ExportError(f"repeat {repeat} recorded no turn, there is nothing to write")
    attains = engine.attains_all[engine.all_turns.repeat == repeat]
    good = ~turns.has_failed & (turns.num_chunks > 0)
    latency = turns.last_token_at - turns.sent_at
    ttft = turns.first_token_at - turns.sent_at
    num_output = np.where(good, turns.num_output_tokens, 0).astype(np.int64)
    tpot = (latency - ttft)[good & (num_output > 1)] / (num_output[good & (num_output > 1)] - 1)
    duration_s = float(np.nanmax(turns.done_at) - turns.scheduled_at.min())
    num_input = int(np.nansum(turns.num_prompt_tokens[good]))
    return {
        "date": datetime.fromisoformat(manifest.created_at).strftime("%Y%m%d-%H%M%S"),
        "endpoint_type": "openai",
        "backend": "openai",
        "label": manifest.name,
        "model_id": manifest.workload.get("model"),
        "tokenizer_id": manifest.workload.get("model"),
        "num_prompts": engine.plan.num_turns,
        **_traffic(manifest, engine.plan),
        "duration": duration_s,
        "completed": int(good.sum()),
        "failed": int((~good).sum()),
        "total_input_tokens": num_input,
        "total_output_tokens": int(num_output.sum()),
        "request_throughput": float(good.sum()) / duration_s,
        "request_goodput": float(attains.sum()) / duration_s,
        "output_throughput": float(num_output.sum()) / duration_s,
        "total_token_throughput": float(num_input + num_output.sum()) / duration_s,
        "max_output_tokens_per_s": _busiest_second(turns, good),
        "max_concurrent_requests": _most_at_once(turns.sent_at[good], turns.last_token_at[good]),
        "rtfx": 0.0,  # of audio, which there is none of
        **_summary("ttft", ttft[good]),
        **_summary("tpot", tpot),
        **_summary("itl", turns.gaps[good[turns.gap_turn]]),
        **_summary("e2el", latency[good]),
        "output_lens": num_output.tolist(),
        "ttfts": np.nan_to_num(ttft).tolist(),
        "latencies": np.nan_to_num(latency).tolist(),
        **_by_request(turns),
    }


def _by_request(turns: TurnTable) -> dict[str, list[Any]]:
    gaps = np.split(turns.gaps, np.cumsum(turns.num_gaps)[:-1])
    return {
        "input_lens": np.nan_to_num(turns.num_prompt_tokens).astype(int).tolist(),
        "itls": [each.tolist() for each in gaps],
        "queue_times": np.nan_to_num(turns.sent_at - turns.scheduled_at).tolist(),
        "start_times": np.where(np.isnan(turns.sent_at), 0.0, turns.sent_at).tolist(),
        "generated_texts": [""] * len(turns),  # answers are not kept
        "errors": [str(each) for each in turns.error],
    }


def _traffic(manifest: Manifest, plan: Plan) -> dict[str, Any]:
    """Arrivals in its terms: requests per second (a conversation is several), and 1 / cv² of the
    gaps. "inf", as there, for what has no rate or no spread."""
    arrivals = manifest.workload.get("arrivals", {})
    rate, cv = arrivals.get("rate"), 1.0
    if arrivals.get("process") == "gamma":
        cv = arrivals["cv"]
    elif arrivals.get("process") == "constant":
        cv = 0.0
    turns_per_conversation = plan.num_turns / max(1, len(plan.conversations))
    return {
        "request_rate": "inf" if rate is None else rate * turns_per_conversation,
        "burstiness": 1 / cv**2 if cv else "inf",
        "max_concurrency": plan.closed_concurrency,
    }


def _summary(name: str, seconds: Floats) -> dict[str, float]:
    """Zero without samples, as there."""
    values = seconds * 1000 if len(seconds) else np.zeros(1)
    found = {
        f"mean_{name}_ms": float(values.mean()),
        f"median_{name}_ms": float(np.median(values)),
        f"std_{name}_ms": float(values.std()),
    }
    ranks: Sequence[int] = (90, 95, 99)
    return found | {f"p{q}_{name}_ms": float(np.percentile(values, q)) for q in ranks}


def _busiest_second(turns: TurnTable, good: Bools) -> float:
    """Seconds are counted from the first sending."""
    chunks = good[turns.token_turn]
    if not chunks.any():
        return 0.0
    second = (turns.token_at[chunks] - turns.sent_at[good].min()).astype(np.int64)
    return float(np.bincount(second, weights=turns.tokens_per_chunk[chunks]).max())


def _most_at_once(began_at: Floats, ended_at: Floats) -> int:
    """Of [began, ended)."""
    instants = np.concatenate([ended_at, began_at])
    change = np.repeat([-1, 1], len(began_at))
    order = np.argsort(instants, kind="stable")
    return int(change[order].cumsum().max(initial=0))
