"""What the service figures draw of an engine: who was served how fast, over time and over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.thinning import Floats, evenly
from suite.attainment import Attainment
from suite.fairness import Backlog, backlogs, service_rates
from suite.turn_table import TurnTable

NUM_WINDOWS = 20  # as in docs/metrics.md, `service_window_s`
MIN_WINDOW_S = 1.0
MAX_LORENZ_POINTS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """Of one repeat. Service in weighted tokens, as in docs/metrics.md, Fairness."""

    repeat: int
    at: Floats  # [num_windows] middles
    window_s: float
    rate_by_class: Mapping[str, Floats]  # per second of waiting; NaN where nobody waited
    gap: Floats  # per second: best served − worst served of those who waited throughout; NaN if < 2
    widest: tuple[float, float, float, str, str] | None  # at, best, worst (per s), their users


@dataclass(frozen=True, slots=True, kw_only=True)
class Lorenz:
    """The worst served `user_ratio` of the users have `share_ratio` of all there is."""

    user_ratio: Floats
    share_ratio: Floats
    gini: float


def service_view(turns: TurnTable, classes: Sequence[str], repeat: int) -> ServiceView | None:
    """None where nobody was served, or the server did not count its prompts."""
    mine = turns.where(turns.repeat == repeat)
    stretches = _known(mine)
    if not stretches:
        return None
    start = min(each.start for each in stretches)
    end = max(each.end for each in stretches)
    window_s = max(MIN_WINDOW_S, (end - start) / NUM_WINDOWS)
    edges = start + window_s * np.arange(max(1, round((end - start) / window_s)) + 1)
    class_of = dict(zip(mine.user_id, mine.user_class, strict=True))
    rates = {name: _rate(stretches, class_of, name, edges) for name in classes}
    best, worst, who = _extremes(stretches, edges)
    gap = (best - worst) / window_s
    at = (edges[:-1] + edges[1:]) / 2
    widest = None
    if not np.isnan(gap).all():
        place = int(np.nanargmax(gap))
        ends = (float(best[place]) / window_s, float(worst[place]) / window_s)
        widest = (float(at[place]), *ends, *who[place])
    return ServiceView(
        repeat=repeat, at=at, window_s=window_s, rate_by_class=rates, gap=gap, widest=widest
    )


def _known(turns: TurnTable) -> list[Backlog]:
    served = turns.num_chunks > 0
    good = served & ~turns.has_failed
    if not served.any() or np.isnan(turns.num_prompt_tokens[good]).any():
        return []
    return backlogs(turns)


def _rate(
    stretches: Sequence[Backlog], class_of: Mapping[str, str], name: str, edges: Floats
) -> Floats:
    """Service of the class in each window per second that a user of it waited in the window."""
    mine = [each for each in stretches if class_of[each.user] == name]
    if not mine:
        return np.full(len(edges) - 1, np.nan)
    at = np.concatenate([each.at for each in mine])
    amount = np.concatenate([np.diff(each.service, prepend=0.0) for each in mine])
    served, _ = np.histogram(at, edges, weights=amount)
    began = np.array([each.start for each in mine])
    ended = np.array([each.end for each in mine])
    waited_by = np.maximum(0.0, np.minimum(edges, ended[:, None]) - began[:, None]).sum(axis=0)
    waited = np.diff(waited_by)
    is_known = waited > 1e-3 * (edges[1] - edges[0])
    return np.divide(served, waited, out=np.full(len(waited), np.nan), where=is_known)


def _extremes(
    stretches: Sequence[Backlog], edges: Floats
) -> tuple[Floats, Floats, list[tuple[str, str]]]:
    """Per window the most and the least that a user got who waited all through it, and who."""
    num = len(edges) - 1
    best, worst = np.full(num, np.nan), np.full(num, np.nan)
    who = [("", "")] * num
    seen = np.zeros(num, dtype=int)
    for each in stretches:
        first, last = np.searchsorted(edges, [each.start, each.end], side="left")
        last -= int(last > num or edges[min(last, num)] > each.end)
        if last <= first:
            continue
        served = np.concatenate([[0.0], each.service])
        got = np.diff(served[each.at.searchsorted(edges[first : last + 1], side="right")])
        for window, amount in enumerate(got, start=int(first)):
            seen[window] += 1
            if not best[window] >= amount:
                best[window], who[window] = amount, (each.user, who[window][1])
            if not worst[window] <= amount:
                worst[window], who[window] = amount, (who[window][0], each.user)
    best[seen < 2], worst[seen < 2] = np.nan, np.nan
    return best, worst, who


def lorenz(shares: Floats) -> Lorenz | None:
    """Of one non-negative number a user; None where all are 0."""
    ascending = np.sort(shares)
    total = float(ascending.sum())
    if total <= 0.0:
        return None
    count = len(ascending)
    so_far = np.concatenate([[0.0], np.cumsum(ascending)]) / total
    rank = np.arange(1, count + 1)
    gini = float(2 * (rank * ascending).sum() / (count * total) - (count + 1) / count)
    drawn = evenly(count + 1, MAX_LORENZ_POINTS)
    return Lorenz(user_ratio=drawn / count, share_ratio=so_far[drawn], gini=gini)


def lorenz_curves(turns: TurnTable, users: Attainment) -> dict[str, Lorenz | None]:
    """Over users, each repeat's anew: of what they got per second of waiting, of what attained."""
    rates: list[float] = []
    for repeat in np.unique(turns.repeat):
        rates += service_rates(_known(turns.where(turns.repeat == repeat))).values()
    return {
        "service": lorenz(np.array(rates)) if rates else None,
        "attainment": lorenz(users.ratio) if len(users.repeat) else None,
    }
