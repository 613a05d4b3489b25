"""How evenly users were served. Pure arithmetic on arrays; formulas in docs/metrics.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from suite.attainment import Attainment
from suite.statistics import quantile
from suite.turn_table import Floats, Ints, TurnTable

PROMPT_WEIGHT = 1.0  # service of one prompt token, as in VTC
OUTPUT_WEIGHT = 2.0  # service of one output token
MAX_PAIRS = 1_000_000  # of overlapping waits, half a minute of work; more are not looked at


def fairness_numbers(turns: TurnTable, users: Attainment, repeats: Sequence[int]) -> dict[str, Any]:
    """Over users, each repeat's counted anew. The longest gap looks at failed turns too, so that
    no stall can hide behind a failure."""
    ratio, unavailable = users.ratio, {}
    worst = int(ratio.argmin())
    rates, difference, why = _service(turns, repeats)
    if why is not None:
        unavailable["jain_service_index"] = unavailable["max_service_difference"] = why
    elif difference is None:
        why = f"more than {MAX_PAIRS:,} pairs of waits overlap"
        unavailable["max_service_difference"] = why
    jain, jain_service = jain_index(ratio), jain_index(rates)
    if jain is None:
        unavailable["jain_index"] = "no turn attained its SLO"
    if jain_service is None:
        unavailable.setdefault("jain_service_index", "no user was served")
    if not len(turns.gaps):
        unavailable["longest_gap_s"] = "no turn has two tokens"
    return {
        "jain_index": jain,
        "jain_service_index": jain_service,
        "max_service_difference": difference,
        "worst_user_id": str(users.user_id[worst]),
        "worst_user_attainment_ratio": float(ratio[worst]),
        "p5_user_attainment_ratio": quantile(np.sort(ratio), Fraction(5, 100)),
        "mean_user_attainment_ratio": float(ratio.mean()),
        "longest_gap_s": float(turns.gaps.max()) if len(turns.gaps) else None,
        "unavailable": unavailable,
    }


def _service(turns: TurnTable, repeats: Sequence[int]) -> tuple[Floats, float | None, str | None]:
    """(service rates of all users in all repeats, the largest difference, why there are none)."""
    served = turns.num_chunks > 0
    if np.isnan(turns.num_prompt_tokens[served]).any():
        return np.zeros(0), None, "the server did not count the prompt tokens of every turn"
    rates: list[float] = []
    differences: list[float | None] = []
    for repeat in repeats:
        stretches = backlogs(turns.where(turns.repeat == repeat))
        rates += service_rates(stretches).values()
        differences.append(max_service_difference(stretches))
    known = [each for each in differences if each is not None]
    return np.array(rates), max(known) if len(known) == len(differences) else None, None


def jain_index(shares: Floats) -> float | None:
    """(Σx)² / (n·Σx²): 1 = all equal, 1/n = one has everything. None without any service."""
    total_square = float(np.square(shares).sum())
    if total_square == 0.0:
        return None
    return float(shares.sum()) ** 2 / (len(shares) * total_square)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """A maximal stretch in which a user always had a turn outstanding, and the service received
    in it: cumulative weighted tokens `service` at the instants `at` (both [num_events])."""

    user: str
    start: float
    end: float
    at: Floats
    service: Floats
    total: float  # all of it


def backlogs(turns: TurnTable) -> list[Backlog]:
    """Of one repeat. A turn is outstanding from its planned instant to its end; the prompt's
    service counts when the first token arrives, each token's when its chunk arrives."""
    end = np.where(np.isnan(turns.done_at), turns.last_token_at, turns.done_at)
    rows = np.flatnonzero(~np.isnan(end))
    first_chunk = np.concatenate([[0], np.cumsum(turns.num_chunks)])
    users, user_of = np.unique(turns.user_id[rows], return_inverse=True)
    rows = rows[np.lexsort((turns.scheduled_at[rows], user_of))]
    rows_of_users = np.split(rows, np.cumsum(np.bincount(user_of))[:-1])
    return [
        _backlog(str(user), stretch, turns, end, first_chunk)
        for user, mine in zip(users, rows_of_users, strict=False)  # without users one empty part
        for stretch in _merged(mine, turns.scheduled_at, end)
    ]


def _merged(rows: Ints, start: Floats, end: Floats) -> list[list[int]]:
    """Rows sorted by start, grouped into overlapping stretches."""
    stretches: list[list[int]] = []
    last_end = -np.inf
    for row in rows:
        if stretches and start[row] <= last_end:
            stretches[-1].append(int(row))
        else:
            stretches.append([int(row)])
        last_end = max(last_end, float(end[row]))
    return stretches


def _backlog(
    user: str, rows: list[int], turns: TurnTable, end: Floats, first_chunk: Ints
) -> Backlog:
    instants, amounts = [], []
    for row in rows:
        chunks = slice(int(first_chunk[row]), int(first_chunk[row + 1]))
        amount = OUTPUT_WEIGHT * turns.tokens_per_chunk[chunks]
        if len(amount):
            amount[0] += PROMPT_WEIGHT * turns.num_prompt_tokens[row]
        instants.append(turns.token_at[chunks])
        amounts.append(amount)
    at = np.concatenate(instants)
    order = np.argsort(at, kind="stable")
    service = np.cumsum(np.concatenate(amounts)[order])
    return Backlog(
        user=user,
        start=float(turns.scheduled_at[rows].min()),
        end=float(end[rows].max()),
        at=at[order],
        service=service,
        total=float(service[-1]) if len(service) else 0.0,
    )


def service_rates(stretches: list[Backlog]) -> dict[str, float]:
    """Per user: weighted tokens received per second of having a turn outstanding."""
    service: dict[str, float] = {}
    waited: dict[str, float] = {}
    for each in stretches:
        service[each.user] = service.get(each.user, 0.0) + each.total
        waited[each.user] = waited.get(each.user, 0.0) + (each.end - each.start)
    return {user: service[user] / waited[user] for user in service if waited[user] > 0}


def max_service_difference(stretches: list[Backlog]) -> float | None:
    """VTC's measure: max over pairs of users and intervals in which both are backlogged all the
    time of |W_f(t1, t2) − W_g(t1, t2)|. 0.0 when no two waits overlap, None when there are more
    overlapping pairs than MAX_PAIRS."""
    ordered = sorted(stretches, key=lambda each: each.start)
    pairs = _overlapping_pairs(ordered)
    if pairs is None:
        return None
    # |a − b| ≤ max(a, b): no pair differs by more than the larger of its two totals.
    total = np.array([each.total for each in ordered])
    bounds = total[pairs].max(axis=1)
    worst = 0.0
    for place in np.argsort(-bounds):
        if bounds[place] <= worst:
            break
        first, second = pairs[place]
        worst = max(worst, _pair_difference(ordered[first], ordered[second]))
    return worst


def _overlapping_pairs(ordered: list[Backlog]) -> Ints | None:
    """Shape [num_pairs, 2]: indices of stretches of two users that overlap; None if too many.
    `ordered` by start, so the partners of each stretch are a run of its successors."""
    start = np.array([each.start for each in ordered])
    index = np.arange(len(ordered))
    after = np.searchsorted(start, [each.end for each in ordered], side="left")
    num_partners = np.maximum(after - index - 1, 0)
    if num_partners.sum() > MAX_PAIRS:
        return None
    first = np.repeat(index, num_partners)
    run_start = np.repeat(np.cumsum(num_partners) - num_partners, num_partners)
    second = first + 1 + np.arange(len(first)) - run_start
    user = np.array([each.user for each in ordered], dtype=object)
    is_of_two = user[first] != user[second]
    pairs: Ints = np.stack([first[is_of_two], second[is_of_two]], axis=1)
    return pairs


def _pair_difference(first: Backlog, second: Backlog) -> float:
    """Over all t1 < t2 inside both stretches: the range of W_f − W_g as a walk over time."""
    start, end = max(first.start, second.start), min(first.end, second.end)
    steps = [
        each.at[each.at.searchsorted(start, side="right") : each.at.searchsorted(end, side="right")]
        for each in (first, second)
    ]
    at = np.concatenate([[start], *steps])  # in any order: only the extremes count
    walk = _served_by(first, at) - _served_by(second, at)
    return float(walk.max() - walk.min())


def _served_by(stretch: Backlog, at: Floats) -> Floats:
    """Service received up to and including each instant."""
    served = np.concatenate([[0.0], stretch.service])
    found: Floats = served[stretch.at.searchsorted(at, side="right")]
    return found
