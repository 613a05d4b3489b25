"""Records made up from a seed, with what makes real ones hard to judge: turns of a conversation are
alike, tails are heavy, and a busy spell hits everybody in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from suite.playing.environment import machine, versions
from suite.records.run_directory import Counts, Manifest, Trial
from suite.records.turn_records import TURN_SCHEMA, write_table
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass

CLASSES = (
    ("interactive", 0.5, Slo(ttft_s=1.0, tbt_s=0.15, tbt_percentile=0.99, attainment_ratio=0.9)),
    ("standard", 0.3, Slo(ttft_s=3.0, tbt_s=0.3, tbt_percentile=0.99, attainment_ratio=0.9)),
    ("batch", 0.2, Slo(ttft_s=10.0, tbt_s=1.0, tbt_percentile=0.99, attainment_ratio=0.8)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How alike turns are, and how heavy the tails; of logarithms where not said otherwise."""

    conversation_sigma: float = 0.4  # of a conversation's own level: what is paired away
    run_sigma: float = 0.0  # of a run's own level: another day, another neighbour
    turn_sigma: float = 0.5
    stall_ratio: float = 0.003  # of the gaps
    stall_shape: float = 2.0  # Pareto; smaller is heavier


def make_plan(num_conversations: int, *, mean_turns: float, mean_tokens: float, seed: int) -> Plan:
    rng = np.random.default_rng(seed)
    starts = np.cumsum(rng.exponential(0.5, num_conversations))
    names = rng.choice([name for name, _, _ in CLASSES], num_conversations, p=[0.5, 0.3, 0.2])
    num_turns = rng.geometric(1 / mean_turns, num_conversations)
    prompt = np.arange(32, dtype=np.int32)
    return Plan(
        name="synthetic",
        seed=seed,
        user_classes=tuple(
            UserClass(name=name, share_ratio=share, slo=slo) for name, share, slo in CLASSES
        ),
        conversations=tuple(
            Conversation(
                conversation_id=f"c{index:05d}",
                user_id=f"u{index:05d}",
                user_class=str(names[index]),
                start_at_s=float(starts[index]),
                turns=tuple(
                    Turn(
                        new_prompt_token_ids=prompt,
                        prompt_text=None,
                        num_output_tokens=int(tokens),
                        think_time_s=0.0 if number == 0 else 1.0,
                    )
                    for number, tokens in enumerate(
                        2 + rng.exponential(mean_tokens, num_turns[index]).astype(int)
                    )
                ),
            )
            for index in range(num_conversations)
        ),
        closed_concurrency=None,
        priorities=None,
    )


def make_turns(plan: Plan, noise: Noise, *, slowdown: float, run: int, shared: int) -> pa.Table:
    """One trial's turns. `shared` seeds what the conversations bring into every run of this plan,
    `run` what is this run's own. Every time is multiplied by `slowdown`."""
    of_conversation = np.random.default_rng([shared, 1]).normal(
        0, noise.conversation_sigma, len(plan.conversations)
    )
    rng = np.random.default_rng([run, 2])
    level = slowdown * np.exp(rng.normal(0, noise.run_sigma))
    num_turns = np.array([len(each.turns) for each in plan.conversations])
    of_turn = np.repeat(np.arange(len(num_turns)), num_turns)
    tokens = np.array([t.num_output_tokens for c in plan.conversations for t in c.turns])
    factor = level * np.exp(of_conversation)[of_turn]
    ttft = 0.2 * factor * np.exp(rng.normal(0, noise.turn_sigma, len(of_turn)))
    offsets = np.concatenate([[0], np.cumsum(tokens)])
    gaps = rng.gamma(20.0, 1 / 20.0, offsets[-1])
    gaps *= np.repeat(0.03 * factor, tokens)
    stalls = np.flatnonzero(rng.random(len(gaps)) < noise.stall_ratio)
    gaps[stalls] += 0.1 * level * (1 + rng.pareto(noise.stall_shape, len(stalls)))
    gaps[offsets[:-1]] = ttft
    total = np.add.reduceat(gaps, offsets[:-1])
    scheduled = _scheduled(plan, num_turns, total)
    walk = np.cumsum(gaps)
    before = np.concatenate([[0.0], walk])[offsets[:-1]]
    token_at = walk + np.repeat(scheduled - before, tokens)
    return _turn_table(plan, tokens, offsets, token_at, scheduled)


def _turn_table(
    plan: Plan,
    tokens: np.ndarray,
    offsets: np.ndarray,
    token_at: np.ndarray,
    scheduled: np.ndarray,
) -> pa.Table:
    """In the columns of turns.parquet; row i has the tokens offsets[i] … offsets[i + 1] − 1."""
    lists = pa.array(offsets, pa.int32())
    rows = [(c, number) for c in plan.conversations for number in range(len(c.turns))]
    num = len(rows)
    return pa.table(
        {
            "conversation_id": [c.conversation_id for c, _ in rows],
            "turn": pa.array([number for _, number in rows], pa.int32()),
            "user_id": [c.user_id for c, _ in rows],
            "user_class": [c.user_class for c, _ in rows],
            "priority": pa.nulls(num, pa.int32()),
            "planned_output_tokens": pa.array(tokens, pa.int32()),
            "scheduled_at": scheduled,
            "sent_at": scheduled,
            "token_at": pa.ListArray.from_arrays(lists, pa.array(token_at)),
            "tokens_per_chunk": pa.ListArray.from_arrays(
                lists, pa.array(np.ones(len(token_at), dtype=np.int32))
            ),
            "done_at": token_at[offsets[1:] - 1],
            "num_prompt_tokens": pa.array(np.full(num, 32), pa.int32()),
            "num_cached_tokens": pa.array(np.zeros(num), pa.int32()),
            "num_output_tokens": pa.array(tokens, pa.int32()),
            "num_coalesced": pa.array(np.zeros(num), pa.int32()),
            "time_source": ["kernel"] * num,
            "finish_reason": ["length"] * num,
            "error": pa.nulls(num, pa.string()),
        }
    ).select(TURN_SCHEMA.names)


def _scheduled(plan: Plan, num_turns: np.ndarray, total: np.ndarray) -> np.ndarray:
    """Each turn a second after the end of the one before it."""
    start = np.repeat([each.start_at_s for each in plan.conversations], num_turns)
    first = np.cumsum(num_turns) - num_turns
    before = np.cumsum(total + 1.0) - (total + 1.0)
    return start + before - np.repeat(before[first], num_turns)


def write_run(run: Path, plan: Plan, trials: dict[str, list[pa.Table]], gates: list[str]) -> Path:
    """A run directory of these tables: by engine, one a repeat; the first is the baseline."""
    run.mkdir(parents=True, exist_ok=True)
    plan.write(run / "plan.parquet")
    repeats = len(next(iter(trials.values())))
    written = []
    for repeat in range(repeats):
        for name, tables in trials.items():
            table = tables[repeat]
            trial = _trial(plan, name, repeat + 1, len(table))
            trial.directory(run).mkdir(parents=True, exist_ok=True)
            write_table(
                trial.directory(run) / "turns.parquet",
                table.sort_by("scheduled_at"),
                started_at_monotonic_s=0.0,
            )
            written.append(trial)
    Manifest(
        name=plan.name,
        created_at="2026-01-01T00:00:00+00:00",
        plan_digest=plan.digest,
        seed=plan.seed,
        workload={},
        engines={name: {"kind": "openai"} for name in trials},
        baseline=next(iter(trials)),
        gates=gates,
        repeats=repeats,
        versions=versions(),
        machine=machine(),
        trials=written,
    ).write(run)
    return run


def _trial(plan: Plan, name: str, repeat: int, num_recorded: int) -> Trial:
    return Trial(
        engine=name,
        repeat=repeat,
        status="complete",
        note=None,
        started_at_monotonic_s=0.0,
        duration_s=0.0,
        counts=Counts(planned=plan.num_turns, recorded=num_recorded, failed=0, lost=0),
        driver=None,
    )
