"""How evenly users were served. Pure arithmetic on arrays; formulas in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

import numpy as np

from suite.measuring.attainment import Attainment
from suite.measuring.service import (
    MAX_PAIRS,
    Backlog,
    backlogs,
    max_service_difference,
    service_rates,
    service_windows,
)
from suite.measuring.slowdown import SoloLatencies, slowdown_numbers
from suite.measuring.user_intervals import user_intervals
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats
from suite.statistics.intervals import all_as_json
from suite.statistics.quantiles import P5, quantile_rank

SERVICE_KEYS = (
    "jain_service_index",
    "gini_service_index",
    "max_service_difference",
    "service_window_s",
    "num_service_windows",
    "window_service_difference_max",
    "window_service_difference_mean",
    "window_service_difference_variance",
)


def fairness_numbers(
    turns: TurnTable,
    users: Attainment,
    headroom: Floats,
    repeats: Sequence[int],
    *,
    solo: SoloLatencies | None,
    user_classes: Sequence[str],
) -> dict[str, Any]:
    """Returns the numbers on fairness over users, each repeat's counted anew; `headroom` of each
    turn. In the order of docs/metrics.md; `interval` and `unavailable` hold those of all of
    them."""
    own_headroom = users.mean_of_turns(turns, headroom)
    service, no_service = _service(turns, repeats)
    slowdown, by_class = slowdown_numbers(turns, solo, user_classes)
    longest, no_longest = _longest(turns)
    attained, not_attained = _attainment(users)
    return {
        **attained,
        **service,
        **slowdown.numbers,
        **_headroom(own_headroom, users),
        **longest,
        **_abandoned(turns, users),
        "by_class": {name: each.as_json() for name, each in by_class.items()},
        "interval": all_as_json({**user_intervals(users, own_headroom), **slowdown.intervals}),
        "unavailable": {**not_attained, **no_service, **slowdown.unavailable, **no_longest},
    }


def jain_index(shares: Floats) -> float | None:
    """(Σx)² / (n·Σx²): 1 = all equal, 1/n = one has everything. None without any service."""
    total_square = float(np.square(shares).sum())
    if total_square == 0.0:
        return None
    return float(shares.sum()) ** 2 / (len(shares) * total_square)


def gini_index(shares: Floats) -> float | None:
    """Σ Σ |xᵢ − xⱼ| / (2 n Σx): 0 = all equal, (n − 1)/n = one has all; None if all are 0."""
    num, total = len(shares), float(shares.sum())
    if total == 0.0:
        return None
    ranks = np.arange(1, num + 1)
    return float(((2 * ranks - num - 1) * np.sort(shares)).sum() / (num * total))


def longest_wait_per_turn(turns: TurnTable) -> Floats:
    """From the planned instant to the first token, or to the end of a turn that got none."""
    until = np.where(np.isnan(turns.first_token_at), turns.done_at, turns.first_token_at)
    waited: Floats = until - turns.scheduled_at
    return waited


def _attainment(users: Attainment) -> tuple[dict[str, Any], dict[str, str]]:
    """The numbers on attainment, and the reasons of those that are None."""
    ratio = users.ratio
    by_ratio = np.argsort(ratio, kind="stable")
    worst, p5 = by_ratio[0], by_ratio[quantile_rank(len(ratio), P5) - 1]
    found = {
        "jain_index": jain_index(ratio),
        "gini_index": gini_index(ratio),
        "worst_user_id": str(users.user_id[worst]),
        "worst_user_class": str(users.user_class[worst]),
        "worst_user_attainment_ratio": float(ratio[worst]),
        "p5_user_id": str(users.user_id[p5]),
        "p5_user_class": str(users.user_class[p5]),
        "p5_user_attainment_ratio": float(ratio[p5]),
        "mean_user_attainment_ratio": float(ratio.mean()),
    }
    return found, {key: "no turn attained its SLO" for key in found if found[key] is None}


def _longest(turns: TurnTable) -> tuple[dict[str, float | None], dict[str, str]]:
    """Returns the longest gap and wait, of failed turns too, so that no stall can hide behind a
    failure; and the reasons of those that are None."""
    wait = longest_wait_per_turn(turns)
    has_wait, has_gap = not np.isnan(wait).all(), len(turns.gaps) > 0
    reasons = {}
    if not has_gap:
        reasons["longest_gap_s"] = "no turn has two tokens"
    if not has_wait:
        reasons["longest_wait_s"] = "no turn was played to its end"
    return {
        "longest_gap_s": float(turns.gaps.max()) if has_gap else None,
        "longest_wait_s": float(np.nanmax(wait)) if has_wait else None,
    }, reasons


def _abandoned(turns: TurnTable, users: Attainment) -> dict[str, float]:
    num_planned = int(users.num_planned_turns.sum())
    num_abandoned = num_planned - int((~turns.has_failed).sum())
    return {
        "num_abandoned_turns": num_abandoned,
        "abandoned_turns_ratio": num_abandoned / num_planned,
    }


def _headroom(headroom: Floats, users: Attainment) -> dict[str, Any]:
    """Returns the numbers on headroom; `headroom` of each user."""
    best = int(headroom.argmax())
    top = np.sort(headroom)[::-1][: ceil(len(headroom) / 10)]
    total = float(headroom.sum())
    return {
        "headroom_mean_ratio": float(headroom.mean()),
        "headroom_best_user_id": str(users.user_id[best]),
        "headroom_best_user_class": str(users.user_class[best]),
        "headroom_best_user_ratio": float(headroom[best]),
        "headroom_top_decile_ratio": float(top.sum()) / total if total else None,
    }


def _service(
    turns: TurnTable, repeats: Sequence[int]
) -> tuple[dict[str, float | None], dict[str, str]]:
    """The numbers on service, and the reasons of those that are None."""
    is_uncounted = ~turns.has_failed & (turns.num_chunks > 0) & np.isnan(turns.num_prompt_tokens)
    if is_uncounted.any():
        why = f"the server did not count the prompt tokens of {int(is_uncounted.sum()):,} turns"
        return dict.fromkeys(SERVICE_KEYS), dict.fromkeys(SERVICE_KEYS, why)
    waits = [backlogs(turns.where(turns.repeat == repeat)) for repeat in repeats]
    rates = np.array([rate for each in waits for rate in service_rates(each).values()])
    differences = [max_service_difference(each) for each in waits]
    known = [each for each in differences if each is not None]
    found = {
        "jain_service_index": jain_index(rates),
        "gini_service_index": gini_index(rates),
        "max_service_difference": max(known) if len(known) == len(differences) else None,
        **_in_windows(waits),
    }
    why_not = {
        "max_service_difference": f"more than {MAX_PAIRS:,} pairs of waits overlap",
        "service_window_s": "no user waited",
        **dict.fromkeys(["jain_service_index", "gini_service_index"], "no user was served"),
    }
    at_once = "there is no window in which two users waited throughout"
    unavailable = {key: why_not.get(key, at_once) for key, each in found.items() if each is None}
    return found, unavailable


def _in_windows(waits: Sequence[list[Backlog]]) -> dict[str, float | None]:
    """Returns the numbers on service in windows; `waits`: the backlogs of each repeat."""
    found = [each for each in map(service_windows, waits) if each is not None]
    differences = np.concatenate([np.zeros(0), *(each.differences() for each in found)])
    has_any = len(differences) > 0
    return {
        "service_window_s": max((each.window_s for each in found), default=None),
        "num_service_windows": len(differences),
        "window_service_difference_max": float(differences.max()) if has_any else None,
        "window_service_difference_mean": float(differences.mean()) if has_any else None,
        "window_service_difference_variance": float(differences.var()) if has_any else None,
    }
