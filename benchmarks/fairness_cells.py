"""Cells of benchmarks.fairness: how one is played in virtual time, and what is kept of it."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fairness_arms import Scene, arm_settings
from engines.simulated.settings import SimulatedSettings
from suite.measuring.attainment import (
    Attainment,
    attaining_uncapped,
    judge_users,
    keeping_gaps,
    planned_users,
)
from suite.measuring.fairness import jain_index, longest_wait_per_turn
from suite.measuring.service import backlogs, service_rates
from suite.playing.workload import priority_updates
from suite.records.turn_table import TurnTable, read_turns
from suite.virtual.play import Script, play_virtually
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.source import read_source
from workloads.spec import WorkloadSpec, spec_of
from workloads.yaml_file import Setting

Json = dict[str, Any]
BASE = Path(__file__).parents[1] / "workloads" / "fairness.yaml"
BASE_ENGINE = "vllm-0.3-priority"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    scene: str
    arm: str
    seed: int
    place: int  # on the lattice of rates
    rate: float  # conversations a second


class Cells:
    """What was played, one JSON line a cell, written as it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: list[Json] = [json.loads(line) for line in lines]

    def add(self, cell: Cell, found: Json) -> None:
        row = {**asdict(cell), **found}
        self.rows.append(row)
        with self._path.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")

    def of(self, scene: str, arm: str) -> Iterator[Json]:
        return (row for row in self.rows if (row["scene"], row["arm"]) == (scene, arm))

    def seeds(self, scene: str, arm: str) -> list[int]:
        return sorted({row["seed"] for row in self.of(scene, arm)})

    def shares(self, scene: str, arm: str, seed: int, share: str) -> dict[int, float]:
        """Returns place ▸ share of users, of what was played."""
        return {row["place"]: row[share] for row in self.of(scene, arm) if row["seed"] == seed}


def play(cell: Cell, scene: Scene, num_conversations: int) -> Json:
    """Plays a cell and returns its numbers."""
    spec = _spec(cell, scene, num_conversations)
    plan = scene.change(build_plan(spec, BASE.parent))
    entry = {**spec.engines[BASE_ENGINE], **(scene.engine or {}), **arm_settings(cell.arm)}
    settings = SimulatedSettings.model_validate(entry).resolve(spec.model)
    began_at = time.process_time()
    with tempfile.TemporaryDirectory(prefix="fsbench-fairness-") as name:
        directory = Path(name)
        script = Script(plan=plan, directory=directory, turn_timeout_s=spec.driver.turn_timeout)
        with closing(settings.virtual_engine(priority_updates(plan))) as engine:
            if (stopped := play_virtually(script, engine)).stopped_by is not None:
                raise SystemExit(f"{cell}: {stopped.note}; half a cell is none")
            num_preemptions = engine.engine.stats.num_preemptions
        turns = read_turns([(1, directory)])
    return {
        "plan_digest": plan.digest,
        "num_preemptions": num_preemptions,
        **numbers(plan, turns),
        "cpu_s": round(time.process_time() - began_at, 2),
    }


def _spec(cell: Cell, scene: Scene, num_conversations: int) -> WorkloadSpec:
    given = {
        **scene.settings,
        "seed": cell.seed,
        "arrivals.rate": float(f"{cell.rate:.6g}"),
        "conversations.count": num_conversations,
    }
    settings = [Setting(key=key, value=value, where=key) for key, value in given.items()]
    return spec_of(read_source(BASE).having(*settings).without_matrix())


def numbers(plan: Plan, turns: TurnTable) -> Json:
    """Returns what is kept of a cell."""
    uncapped = attaining_uncapped(turns, plan.user_classes)
    attains = uncapped & keeping_gaps(turns, plan.user_classes)
    users = judge_users(planned_users(plan), turns, attains, uncapped, [1])
    delay, wait = turns.first_token_at - turns.sent_at, longest_wait_per_turn(turns)
    whole = ~turns.has_failed
    span = float(np.nanmax(turns.done_at) - np.nanmin(turns.scheduled_at))
    return {
        **_shares(users),
        "turn_attainment": float(users.num_attained_turns.sum() / users.num_planned_turns.sum()),
        "jain_index": jain_index(users.ratio),
        "worst_user_attainment": float(users.ratio.min()),
        "by_class": {
            each.name: _class_numbers(users, turns, each.name) for each in plan.user_classes
        },
        "longest_gap_s": float(turns.gaps.max()),
        "longest_wait_s": float(np.nanmax(wait)),
        **{f"ttft_p{q}_s": float(np.quantile(delay[whole], q / 100)) for q in (50, 99)},
        "tbt_p99_s": float(np.quantile(turns.gaps, 0.99)),
        "tbt_p999_s": float(np.quantile(turns.gaps, 0.999)),
        "output_tokens_per_s": float(turns.num_output_tokens[whole].sum() / span),
        "num_failed": int(turns.has_failed.sum()),
    }


def _shares(users: Attainment) -> Json:
    return {
        "users_within_slo": float(users.is_within_slo.mean()),
        "users_within_slo_uncapped": float(users.is_within_uncapped.mean()),
    }


def _class_numbers(users: Attainment, turns: TurnTable, name: str) -> Json:
    """Returns a class's share of users within SLO, its tails, and service per second of waiting."""
    mine = users.where(users.user_class == name)
    rows = turns.where(turns.user_class == name)
    rates = np.array(list(service_rates(backlogs(rows)).values()))
    return {
        **_shares(mine),
        "num_users": len(mine.repeat),
        "turn_attainment": float(mine.num_attained_turns.sum() / mine.num_planned_turns.sum()),
        "ttft_p99_s": float(np.nanquantile(rows.first_token_at - rows.scheduled_at, 0.99)),
        "longest_gap_s": float(rows.gaps.max()) if len(rows.gaps) else 0.0,
        "service_rate_median": float(np.median(rates)),
    }
