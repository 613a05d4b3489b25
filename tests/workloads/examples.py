"""A small valid workload, as YAML text and as a plan, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from workloads.build import build_plan
from workloads.plan import Plan
from workloads.source import read_source
from workloads.spec import WorkloadSpec, spec_of

SMALL = """\
name: small
seed: 7
conversations: {source: sharegpt-like, count: 12, max_context_tokens: 4096}
arrivals: {process: poisson, rate: 2.0}
think_time: {distribution: lognormal, median: 2s, sigma: 1.0, max: 30s}
users:
  interactive: {share: 0.5, priority: 0, slo: {ttft: 1s, tbt: 200ms, attainment: 0.95}}
  batch:       {share: 0.5, priority: 3, slo: {ttft: 10s, tbt: 1s, attainment: 0.9}}
priorities: {pattern: markov, levels: 4, stay: 0.9, num_updates: 16}
engines:
  fcfs: {kind: fastswitch, kv_tokens: 4096}
  vllm-0.3: {kind: fastswitch, kv_tokens: 4096}
baseline: vllm-0.3
gates: [ttft.p99 <= 1.5s]
"""


def load_spec(path: Path, overrides: Sequence[str] = ()) -> WorkloadSpec:
    """The file with `a.b.c=value` overrides applied, checked without its engines and its plan."""
    return spec_of(read_source(path, overrides))


def write_small(folder: Path, text: str = SMALL) -> Path:
    path = folder / "small.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def small_plan(folder: Path, *overrides: str, text: str = SMALL) -> Plan:
    """With `conversations={…}` and the like laid over the example."""
    return build_plan(load_spec(write_small(folder, text), overrides), folder)


def lengths(plan: Plan) -> list[list[tuple[int, int]]]:
    """(new prompt tokens, output tokens) of each turn of each conversation."""
    return [
        [(turn.new_prompt_token_ids.size, turn.num_output_tokens) for turn in conversation.turns]
        for conversation in plan.conversations
    ]


def counts(plan: Plan) -> dict[str, int]:
    return {note.what: note.count for note in plan.notes}


def quantile_distance(values: Sequence[int], quantiles: dict[float, float]) -> float:
    """The largest distance of the values' distribution function from published quantiles.

    At a quantile that is a whole number the function may jump; the nearer side counts.
    """
    ordered = sorted(values)
    distances = []
    for ratio, value in quantiles.items():
        below = sum(v < value for v in ordered) / len(ordered)
        upto = sum(v <= value for v in ordered) / len(ordered)
        distances.append(max(0.0, below - ratio, ratio - upto))
    return max(distances)
