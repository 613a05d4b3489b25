"""All numbers of one engine, as a whole and of each of its repeats alike.

Formulas, units and edge cases: docs/metrics.md, whose names are the keys here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from suite.measuring.attainment import Attainment, share_intervals
from suite.measuring.context_switch import known_context_switch
from suite.measuring.deadlines import deadlines
from suite.measuring.engine_run import EngineRun, counts, not_asked
from suite.measuring.fairness import fairness_numbers
from suite.measuring.latencies import latency_summaries
from suite.measuring.prompt_lengths import LengthCheck
from suite.measuring.steady_state import steady_state
from suite.measuring.tokens import token_numbers
from suite.measuring.users import worst_users
from suite.records.engine_logs import read_engine_logs
from suite.statistics.arrays import Bools
from suite.statistics.intervals import all_as_json

Json = dict[str, Any]


def engine_numbers(engine: EngineRun, run: Path) -> Json:
    """Returns what metrics.json tells of an engine as a whole, and of each of its repeats alike."""
    turns, repeats = engine.turns, engine.repeats
    logs = [read_engine_logs(trial.directory(run)) for trial in engine.trials]
    switching = known_context_switch(logs)
    has_users = len(engine.users.repeat) > 0
    unavailable = {}
    if not has_users:
        why = "the plan has no users" if engine.trials else "the engine was never started"
        unavailable = dict.fromkeys(("slo", "fairness", "users"), why)
    if switching is None:
        unavailable["context_switch"] = "the engine gives no step log"
    return {
        **latency_summaries(turns, np.ones(len(turns), dtype=bool)),
        "by_class": {
            each.name: latency_summaries(turns, turns.user_class == each.name)
            for each in engine.plan.user_classes
        },
        **token_numbers(engine),
        "prompt_lengths": LengthCheck(engine).as_json(),
        "steady_state": steady_state(engine.all_turns, repeats, engine.plan),
        "slo": slo_by_class(engine) if has_users else None,
        "fairness": _fairness(engine) if has_users else None,
        "users": {"worst": worst_users(turns, engine.users)} if has_users else None,
        "context_switch": switching,
        "counts": counts(engine),
        "not_asked": not_asked(engine),
        "unavailable": unavailable,
    }


def _fairness(engine: EngineRun) -> Json:
    return fairness_numbers(
        engine.turns,
        engine.users,
        engine.headroom,
        engine.repeats,
        solo=engine.solo,
        user_classes=[each.name for each in engine.plan.user_classes],
    )


def slo_by_class(engine: EngineRun) -> Json:
    """Returns the numbers on SLOs, of all users and in `by_class` of each class."""
    users, turns = engine.users, engine.turns
    met, missed = deadlines(turns, engine.plan.user_classes)

    def numbers_for(mine: Attainment, rows: Bools) -> Json:
        return slo_numbers(mine, int(met[rows].sum()), int(missed[rows].sum()))

    return {
        **numbers_for(users, np.ones(len(turns), dtype=bool)),
        "by_class": {
            each.name: numbers_for(
                users.where(users.user_class == each.name), turns.user_class == each.name
            )
            for each in engine.plan.user_classes
        },
    }


def slo_numbers(users: Attainment, num_met: int, num_missed: int) -> Json:
    """Returns the numbers on SLOs: users are counted once a repeat, turns as planned; `num_met` and
    `num_missed` are deadlines of the fluidity index."""
    num_turns = int(users.num_planned_turns.sum())
    num_within, num_attained = int(users.is_within_slo.sum()), int(users.num_attained_turns.sum())
    num_uncapped = int(users.is_within_uncapped.sum())
    return {
        "users_within_slo_ratio": _ratio(num_within, len(users.repeat)),
        "users_within_slo_uncapped_ratio": _ratio(num_uncapped, len(users.repeat)),
        "turn_attainment_ratio": _ratio(num_attained, num_turns),
        "fluidity_index": _ratio(num_met, num_met + num_missed),
        "num_users": len(users.repeat),
        "num_users_within_slo": num_within,
        "num_users_within_slo_uncapped": num_uncapped,
        "num_turns": num_turns,
        "num_turns_attained": num_attained,
        "interval": all_as_json(share_intervals(users)),
    }


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
