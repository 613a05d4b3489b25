"""What the service figures draw of an engine: who was served how fast, over time and over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.drawing.thinning import evenly
from suite.measuring.attainment import Attainment
from suite.measuring.fairness import gini_index
from suite.measuring.service import (
    Backlog,
    ServiceGap,
    backlogs,
    service_gaps,
    service_rates,
    service_windows,
)
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats

MAX_LORENZ_POINTS = 120
NUM_GAPS = 200  # instants at which the largest gap is looked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """The largest difference between two waiting users; both arrays [num_instants]."""

    at: Floats
    tokens: Floats  # weighted, since both have been waiting; NaN where no two wait
    widest: ServiceGap | None
    widest_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """Of one repeat. Service in weighted tokens, as in docs/metrics.md, Fairness."""

    repeat: int
    at: Floats  # [num_windows] middles
    window_s: float
    rate_by_class: Mapping[str, Floats]  # per second of waiting; NaN where nobody waited
    gaps: Gaps | None  # None where too many waits overlap


@dataclass(frozen=True, slots=True, kw_only=True)
class Lorenz:
    """The worst served `user_ratio` of the users have `share_ratio` of all there is."""

    user_ratio: Floats
    share_ratio: Floats
    gini: float


def service_views(
    turns: TurnTable, users: Attainment, classes: Sequence[str], repeat: int
) -> tuple[ServiceView | None, dict[str, Lorenz | None]]:
    """Service over time of that repeat; and over users, each repeat's anew, the Lorenz curves of
    what they got per second of waiting (`service`) and of what attained (`attainment`). None where
    nobody was served, or the server did not count its prompts."""
    rates: list[float] = []
    over_time = None
    for each in np.unique(turns.repeat):
        mine = turns.where(turns.repeat == each)
        good = (mine.num_chunks > 0) & ~mine.has_failed
        if np.isnan(mine.num_prompt_tokens[good]).any():
            continue
        stretches = backlogs(mine)
        rates += service_rates(stretches).values()
        if each == repeat:
            class_of = dict(zip(mine.user_id, mine.user_class, strict=True))
            over_time = _over_time(stretches, class_of, classes, repeat)
    curves = {
        "service": lorenz(np.array(rates)) if rates else None,
        "attainment": lorenz(users.ratio) if len(users.repeat) else None,
    }
    return over_time, curves


def _over_time(
    stretches: list[Backlog], class_of: Mapping[str, str], classes: Sequence[str], repeat: int
) -> ServiceView | None:
    windows = service_windows(stretches)
    if windows is None:
        return None
    start = min(each.start for each in stretches)
    edges = start + windows.window_s * np.arange(windows.service.shape[1] + 1)
    user_class = np.array([class_of[user] for user in windows.users], dtype=object)
    stretch_class = np.array([class_of[each.user] for each in stretches], dtype=object)
    began = np.array([each.start for each in stretches])
    ended = np.array([each.end for each in stretches])
    rates = {}
    for name in classes:
        served = windows.service[user_class == name].sum(axis=0)
        mine = stretch_class == name
        rates[name] = _per_second_of_waiting(served, began[mine], ended[mine], edges)
    return ServiceView(
        repeat=repeat,
        at=(edges[:-1] + edges[1:]) / 2,
        window_s=windows.window_s,
        rate_by_class=rates,
        gaps=_gaps(stretches, start, max(each.end for each in stretches)),
    )


def _per_second_of_waiting(
    served: Floats, began_at: Floats, ended_at: Floats, edges: Floats
) -> Floats:
    """Of each window; NaN where hardly anybody waited in it."""
    waited_by = [np.maximum(0.0, np.minimum(edge, ended_at) - began_at).sum() for edge in edges]
    waited = np.diff(waited_by)
    is_known = waited > 1e-3 * (edges[1] - edges[0])
    rate: Floats = np.divide(served, waited, out=np.full(len(waited), np.nan), where=is_known)
    return rate


def _gaps(stretches: list[Backlog], start: float, end: float) -> Gaps | None:
    at = np.linspace(start, end, NUM_GAPS)
    found = service_gaps(stretches, at)
    if found is None:
        return None
    tokens = np.array([np.nan if each is None else each.tokens for each in found])
    place = int(np.argmax(np.nan_to_num(tokens, nan=-1.0)))
    return Gaps(at=at, tokens=tokens, widest=found[place], widest_at=float(at[place]))


def lorenz(shares: Floats) -> Lorenz | None:
    """Of one non-negative number a user; None where all are 0."""
    ascending = np.sort(shares)
    total = float(ascending.sum())
    if total <= 0.0:
        return None
    count = len(ascending)
    so_far = np.concatenate([[0.0], np.cumsum(ascending)]) / total
    gini = gini_index(ascending)
    assert gini is not None, total
    drawn = evenly(count + 1, MAX_LORENZ_POINTS)
    return Lorenz(user_ratio=drawn / count, share_ratio=so_far[drawn], gini=gini)
