"""Service received over time, and how far it differs between users who wait: VTC's measure.

Service W = 1 · prompt tokens + 2 · output tokens (Sheng et al., OSDI 2024). The prompt's share
counts when the first token arrives, each token's when its chunk arrives.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass

import numpy as np

from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats, Ints

PROMPT_WEIGHT = 1.0  # service of one prompt token
OUTPUT_WEIGHT = 2.0  # service of one output token
MAX_PAIRS = 1_000_000  # of overlapping waits, half a minute of work; more are not looked at
NUM_WINDOWS = 20
MIN_WINDOW_S = 1.0


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
    """Returns the stretches in which each user of one repeat waited. A turn is outstanding from its
    planned instant to its end; the prompt's service counts when the first token arrives, each
    token's when its chunk arrives."""
    end = np.where(np.isnan(turns.done_at), turns.last_token_at, turns.done_at)
    rows = np.flatnonzero(~np.isnan(end))
    first_chunk, prompt = turns.first_chunk, np.nan_to_num(turns.num_prompt_tokens)
    users, user_of = np.unique(turns.user_id[rows], return_inverse=True)
    rows = rows[np.lexsort((turns.scheduled_at[rows], user_of))]
    rows_of_users = np.split(rows, np.cumsum(np.bincount(user_of))[:-1])
    return [
        _backlog(str(user), stretch, turns, end=end, first_chunk=first_chunk, prompt=prompt)
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
    user: str, rows: list[int], turns: TurnTable, *, end: Floats, first_chunk: Ints, prompt: Floats
) -> Backlog:
    instants, amounts = [], []
    for row in rows:
        chunks = slice(int(first_chunk[row]), int(first_chunk[row + 1]))
        amount = OUTPUT_WEIGHT * turns.tokens_per_chunk[chunks]
        if len(amount):
            amount[0] += PROMPT_WEIGHT * prompt[row]
        instants.append(turns.token_at[chunks])
        amounts.append(amount)
    at, amount = np.concatenate(instants), np.concatenate(amounts)
    if len(rows) > 1:  # one turn's chunks are in order
        order = np.argsort(at, kind="stable")
        at, amount = at[order], amount[order]
    service = np.cumsum(amount)
    return Backlog(
        user=user,
        start=float(min(turns.scheduled_at[row] for row in rows)),
        end=float(max(end[row] for row in rows)),
        at=at,
        service=service,
        total=float(service[-1]) if len(service) else 0.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceWindows:
    """What each user received in each of equal windows over a repeat; [num_users, num_windows]."""

    users: list[str]
    window_s: float
    service: Floats
    is_backlogged: Bools  # throughout the window

    def differences(self) -> Floats:
        """Largest difference between two users backlogged throughout, of each window that has two
        such users."""
        has_two = self.is_backlogged.sum(axis=0) >= 2
        service, waiting = self.service[:, has_two], self.is_backlogged[:, has_two]
        most = np.where(waiting, service, -np.inf).max(axis=0, initial=-np.inf)
        least = np.where(waiting, service, np.inf).min(axis=0, initial=np.inf)
        difference: Floats = most - least
        return difference


def service_windows(stretches: list[Backlog]) -> ServiceWindows | None:
    """Cuts the span of one repeat's backlogs into windows; None without any."""
    if not stretches:
        return None
    start = min(each.start for each in stretches)
    span = max(each.end for each in stretches) - start
    window_s = max(MIN_WINDOW_S, span / NUM_WINDOWS)
    num = max(1, int(span / window_s + 1e-9))
    row_of = {user: row for row, user in enumerate(sorted({each.user for each in stretches}))}
    service = np.zeros((len(row_of), num))
    is_backlogged = np.zeros((len(row_of), num), dtype=bool)
    edges: Floats = start + window_s * np.arange(num + 1, dtype=np.float64)
    ends = edges.tolist()
    for each in stretches:
        row = row_of[each.user]
        first = bisect_left(ends, each.start)
        last = bisect_right(ends, each.end) - 1
        is_backlogged[row, first : max(first, last)] = True
        # Of the windows that the stretch touches; the service before and after it is none.
        touched = slice(max(0, first - 1), min(num, last + 1) + 1)
        served = _served_by(each, edges[touched])
        service[row, touched.start : touched.stop - 1] += served[1:] - served[:-1]
    return ServiceWindows(
        users=list(row_of), window_s=window_s, service=service, is_backlogged=is_backlogged
    )


def service_rates(stretches: list[Backlog]) -> dict[str, float]:
    """Returns each user's weighted tokens per second of having a turn outstanding."""
    service: dict[str, float] = {}
    waited: dict[str, float] = {}
    for each in stretches:
        service[each.user] = service.get(each.user, 0.0) + each.total
        waited[each.user] = waited.get(each.user, 0.0) + (each.end - each.start)
    return {user: service[user] / waited[user] for user in service if waited[user] > 0}


def max_service_difference(stretches: list[Backlog]) -> float | None:
    """Returns VTC's measure: max over pairs of users and intervals in which both are backlogged all
    the time of |W_f(t1, t2) − W_g(t1, t2)|. 0.0 when no two waits overlap, None when there are more
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGap:
    """The pair of waiting users with the largest difference in service at one instant."""

    tokens: float  # weighted, since both have been waiting
    most: str
    least: str


def service_gaps(stretches: list[Backlog], at: Floats) -> list[ServiceGap | None] | None:
    """At each instant, over all pairs of users who wait then: the largest difference in what they
    received since both began to wait. None where no two wait; no list at all where more than
    MAX_PAIRS waits overlap. Never more than `max_service_difference`."""
    ordered = sorted(stretches, key=lambda each: each.start)
    pairs = _overlapping_pairs(ordered)
    if pairs is None:
        return None
    start, end = (np.array([getattr(each, name) for each in ordered]) for name in ("start", "end"))
    first, second = pairs[:, 0], pairs[:, 1]
    # By how much the first of a pair was ahead when the second began to wait. Grouped by the first.
    firsts, begins = np.unique(first, return_index=True)
    runs = np.split(start[second], begins[1:])
    before = [_served_by(ordered[row], run) for row, run in zip(firsts, runs, strict=False)]
    at_start = np.array([_served_by(each, np.array([each.start]))[0] for each in ordered])
    head_start = np.concatenate([[], *before]) - at_start[second]
    both_from, both_until = start[second], np.minimum(end[first], end[second])
    served = np.array([_served_by(each, at) for each in ordered]).reshape(len(ordered), len(at))
    gaps: list[ServiceGap | None] = []
    for place, instant in enumerate(at):
        now = np.flatnonzero((both_from <= instant) & (instant <= both_until))
        lead = served[first[now], place] - head_start[now] - served[second[now], place]
        if not len(lead):
            gaps.append(None)
            continue
        widest = int(np.abs(lead).argmax())
        users = [ordered[row].user for row in pairs[now[widest]]]
        most, least = users if lead[widest] >= 0 else users[::-1]
        gaps.append(ServiceGap(tokens=float(abs(lead[widest])), most=most, least=least))
    return gaps


def _overlapping_pairs(ordered: list[Backlog]) -> Ints | None:
    """Returns pairs of stretches of two users that overlap, [num_pairs, 2]; None if too many.
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
