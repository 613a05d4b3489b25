"""What the service figures draw of an engine: who was served how fast, over time and over users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.thinning import Floats, evenly
from suite.attainment import Attainment
from suite.fairness import gini_index
from suite.service import Backlog, ServiceWindows, backlogs, service_rates, service_windows
from suite.turn_table import TurnTable

MAX_LORENZ_POINTS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Widest:
    """The window with the largest gap, and between whom it was."""

    window: int
    best_user: str
    worst_user: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceView:
    """Of one repeat. Service in weighted tokens, as in docs/metrics.md, Fairness."""

    repeat: int
    at: Floats  # [num_windows] middles
    window_s: float
    rate_by_class: Mapping[str, Floats]  # per second of waiting; NaN where nobody waited
    gap: Floats  # per second: best served − worst served of those who waited throughout; NaN if < 2
    widest: Widest | None


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
    windows = service_windows(stretches)
    if windows is None:
        return None
    start = min(each.start for each in stretches)
    edges = start + windows.window_s * np.arange(windows.service.shape[1] + 1)
    class_of = dict(zip(mine.user_id, mine.user_class, strict=True))
    gap, widest = _gaps(windows)
    return ServiceView(
        repeat=repeat,
        at=(edges[:-1] + edges[1:]) / 2,
        window_s=windows.window_s,
        rate_by_class={name: _rate(stretches, class_of, name, edges) for name in classes},
        gap=gap,
        widest=widest,
    )


def _known(turns: TurnTable) -> list[Backlog]:
    good = (turns.num_chunks > 0) & ~turns.has_failed
    return [] if np.isnan(turns.num_prompt_tokens[good]).any() else backlogs(turns)


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
    waited_by = np.array([np.maximum(0.0, np.minimum(edge, ended) - began).sum() for edge in edges])
    waited = np.diff(waited_by)
    is_known = waited > 1e-3 * (edges[1] - edges[0])
    rate: Floats = np.divide(served, waited, out=np.full(len(waited), np.nan), where=is_known)
    return rate


def _gaps(windows: ServiceWindows) -> tuple[Floats, Widest | None]:
    """Largest difference of each window, per second, and the window where it is largest."""
    is_mine = windows.is_backlogged
    has_two = is_mine.sum(axis=0) >= 2
    most = np.where(is_mine, windows.service, -np.inf)
    least = np.where(is_mine, windows.service, np.inf)
    gap = np.full(len(has_two), np.nan)
    gap[has_two] = (most.max(axis=0) - least.min(axis=0))[has_two] / windows.window_s
    if not has_two.any():
        return gap, None
    window = int(np.nanargmax(gap))
    return gap, Widest(
        window=window,
        best_user=windows.users[int(most[:, window].argmax())],
        worst_user=windows.users[int(least[:, window].argmin())],
    )


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


def lorenz_curves(turns: TurnTable, users: Attainment) -> dict[str, Lorenz | None]:
    """Over users, each repeat's anew: of what they got per second of waiting, of what attained."""
    rates: list[float] = []
    for repeat in np.unique(turns.repeat):
        rates += service_rates(_known(turns.where(turns.repeat == repeat))).values()
    return {
        "service": lorenz(np.array(rates)) if rates else None,
        "attainment": lorenz(users.ratio) if len(users.repeat) else None,
    }
