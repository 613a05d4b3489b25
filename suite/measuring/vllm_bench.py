"""One trial of a run as `vllm bench serve --save-result --save-detailed` writes it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from suite.measuring.engine_run import EngineRun
from suite.records.run_directory import Manifest
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats
from workloads.plan import Plan


def vllm_bench(manifest: Manifest, engine: EngineRun, repeat: int) -> dict[str, Any]:
    """Returns its keys (vllm/benchmarks/serve.py) for a repeat that has turns, in its units
    (milliseconds for summaries) and by its definitions: percentiles interpolated as numpy does by
    default, latency up to the last token, `duration` from first to last, requests and not
    conversations. A turn is a request."""
    turns = engine.all_turns.where(engine.all_turns.repeat == repeat)
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
        **_models(manifest, engine, repeat),
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


def _models(manifest: Manifest, engine: EngineRun, repeat: int) -> dict[str, Any]:
    """Returns the model as it was asked for, and what answered, as `--metadata` would add it."""
    trial = next(each for each in engine.trials if each.repeat == repeat)
    model = trial.asked_model or manifest.workload.get("model")
    found = {"model_id": model, "tokenizer_id": manifest.workload.get("model") or model}
    if trial.engine_version is None:
        return found
    return {**found, "server_version": trial.engine_version}


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
    """Returns arrivals in its terms: requests per second (a conversation is several), and 1 / cv²
    of the gaps. "inf", as there, for what has no rate or no spread."""
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
    """Returns its summary of a latency, in milliseconds; 0 without samples, as there."""
    values = seconds * 1000 if len(seconds) else np.zeros(1)
    found = {
        f"mean_{name}_ms": float(values.mean()),
        f"median_{name}_ms": float(np.median(values)),
        f"std_{name}_ms": float(values.std()),
    }
    ranks: Sequence[int] = (90, 95, 99)
    return found | {f"p{q}_{name}_ms": float(np.percentile(values, q)) for q in ranks}


def _busiest_second(turns: TurnTable, good: Bools) -> float:
    """Returns the most output tokens in any second, counted from the first sending."""
    chunks = good[turns.token_turn]
    if not chunks.any():
        return 0.0
    second = (turns.token_at[chunks] - turns.sent_at[good].min()).astype(np.int64)
    return float(np.bincount(second, weights=turns.tokens_per_chunk[chunks]).max())


def _most_at_once(began_at: Floats, ended_at: Floats) -> int:
    """Returns the largest number of requests in flight at once, each from its start until before
    its end."""
    instants = np.concatenate([ended_at, began_at])
    change = np.repeat([-1, 1], len(began_at))
    order = np.argsort(instants, kind="stable")
    return int(change[order].cumsum().max(initial=0))
