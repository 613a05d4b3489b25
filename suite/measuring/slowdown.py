"""How much slower users were served in company than alone, from the run that `--solo` adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from suite.records.run_directory import SOLO_FOLDER, Manifest
from suite.records.turn_table import TurnTable, read_turns
from suite.statistics.arrays import Bools, Floats
from suite.statistics.intervals import all_as_json
from suite.statistics.quantiles import Interval
from suite.statistics.summaries import summarise

KEYS = (
    "slowdown_mean",
    "slowdown_p50",
    "slowdown_p99",
    "slowdown_max",
    "slowdown_worst_user_id",
    "slowdown_worst_user_class",
)

SoloLatencies = Mapping[tuple[str, int], float]  # by conversation and turn: E2E, seconds


def solo_latencies(run: Path, engine: str) -> SoloLatencies | None:
    """Reads how long each turn that succeeded took alone; None where no solo run was made."""
    turns = solo_turns(run, engine)
    if turns is None:
        return None
    rows = np.flatnonzero(~turns.has_failed)
    e2e_s = turns.done_at - turns.sent_at
    return {(turns.conversation_id[row], int(turns.turn[row])): float(e2e_s[row]) for row in rows}


def solo_turns(run: Path, engine: str) -> TurnTable | None:
    """Returns what was recorded of it in the solo run; None where none was made."""
    directory = run / SOLO_FOLDER
    if not (directory / "manifest.json").exists():
        return None
    trials = [each for each in Manifest.read(directory).trials if each.engine == engine]
    return read_turns([(trial.repeat, trial.directory(directory)) for trial in trials])


@dataclass(frozen=True, slots=True, kw_only=True)
class Slowdown:
    """The numbers, their intervals, and why some of them are None."""

    numbers: dict[str, float | str | None]
    intervals: dict[str, Interval | None]
    unavailable: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        return {
            **self.numbers,
            "interval": all_as_json(self.intervals),
            "unavailable": self.unavailable,
        }


def slowdown_numbers(
    turns: TurnTable, solo: SoloLatencies | None, user_classes: Sequence[str]
) -> tuple[Slowdown, dict[str, Slowdown]]:
    """Returns the slowdowns of all users and of each class, over turns that succeeded both in
    company and alone."""
    slowdown = None if solo is None else _per_turn(turns, solo)
    return _numbers(turns, slowdown, np.ones(len(turns), dtype=bool)), {
        name: _numbers(turns, slowdown, turns.user_class == name) for name in user_classes
    }


def _nothing(why: str) -> Slowdown:
    return Slowdown(numbers=dict.fromkeys(KEYS), intervals={}, unavailable=dict.fromkeys(KEYS, why))


def _numbers(turns: TurnTable, slowdown: Floats | None, chosen: Bools) -> Slowdown:
    if slowdown is None:
        return _nothing("needs a solo run: fsbench run --solo")
    rows = np.flatnonzero(chosen & ~np.isnan(slowdown))
    if not len(rows):
        return _nothing("no turn succeeded both alone and in company")
    found = summarise(slowdown[rows], turns.conversation[rows])
    users, user_of = np.unique(turns.user_id[rows], return_inverse=True)
    means = np.bincount(user_of, weights=slowdown[rows]) / np.bincount(user_of)
    worst = int(means.argmax())
    return Slowdown(
        numbers={
            "slowdown_mean": found.mean,
            "slowdown_p50": found.percentiles["p50"],
            "slowdown_p99": found.percentiles["p99"],
            "slowdown_max": found.maximum,
            "slowdown_worst_user_id": str(users[worst]),
            "slowdown_worst_user_class": str(turns.user_class[rows[user_of == worst][0]]),
        },
        intervals={f"slowdown_{key}": found.intervals[key] for key in ("mean", "p50", "p99")},
        unavailable={f"slowdown_{name}": why for name, why in found.unavailable.items()},
    )


def _per_turn(turns: TurnTable, solo: SoloLatencies) -> Floats:
    """Returns E2E / E2E alone, [num_turns]; NaN where either is missing."""
    keys = zip(turns.conversation_id, turns.turn.tolist(), strict=True)
    alone = np.array([solo.get(key, np.nan) for key in keys], dtype=np.float64)
    e2e_s = np.where(turns.has_failed, np.nan, turns.done_at - turns.sent_at)
    with np.errstate(divide="ignore", invalid="ignore"):
        slowdown: Floats = np.where(alone > 0, e2e_s / alone, np.nan)
    return slowdown
