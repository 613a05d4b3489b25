"""What the SLO heat map draws of an engine: how much of its SLO each turn of each user took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.drawing.thinning import evenly
from suite.measuring.attainment import Attainment
from suite.measuring.deadlines import tbt_percentile
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats
from suite.statistics.quantiles import exact_fraction
from workloads.plan import Plan
from workloads.plan_parts import UserClass

MAX_USERS = 60
MAX_TURNS = 60  # of one user


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Of one repeat: users by turns. `used` is the worse of delay / ttft and gap percentile / tbt:
    up to 1 the turn attains. NaN where the plan has no such turn, or it left no whole answer."""

    repeat: int
    user_id: tuple[str, ...]  # the worst served first
    user_class: tuple[str, ...]
    used: Floats  # [num_users, num_turns]
    is_missed: Bools  # [num_users, num_turns]: failed, or left no record
    num_users: int  # of the plan
    num_turns: int  # of the user who has most


def heat_map(turns: TurnTable, users: Attainment, plan: Plan, repeat: int) -> HeatMap | None:
    mine = users.where(users.repeat == repeat)
    if not len(mine.repeat):
        return None
    order = np.lexsort((mine.user_id.astype(str), mine.ratio))
    chosen = order[evenly(len(order), MAX_USERS)]
    names = [str(name) for name in mine.user_id[chosen]]
    place_of = _planned_places(plan, set(names))
    num_turns = max(int(mine.num_planned_turns.max()), 1)
    shape = (len(names), min(num_turns, MAX_TURNS))
    used, is_missed = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    row_of = {name: row for row, name in enumerate(names)}
    for user, place in place_of.values():
        if place < MAX_TURNS:
            is_missed[row_of[user], place] = True
    shown = turns.where(
        (turns.repeat == repeat) & np.isin(turns.user_id.astype(str), np.array(names, dtype=str))
    )
    for row, use in enumerate(_used(shown, plan.user_classes)):
        user, place = place_of.get((shown.conversation_id[row], int(shown.turn[row])), ("", 0))
        if user in row_of and place < MAX_TURNS and not np.isnan(use):
            used[row_of[user], place], is_missed[row_of[user], place] = use, False
    return HeatMap(
        repeat=repeat,
        user_id=tuple(names),
        user_class=tuple(str(name) for name in mine.user_class[chosen]),
        used=used,
        is_missed=is_missed,
        num_users=len(order),
        num_turns=num_turns,
    )


def _planned_places(plan: Plan, users: set[str]) -> dict[tuple[str, int], tuple[str, int]]:
    """(conversation, turn) → (user, which of the user's turns), conversations in plan order."""
    so_far = dict.fromkeys(users, 0)
    places = {}
    for each in plan.conversations:
        if each.user_id not in users:
            continue
        for turn in range(len(each.turns)):
            places[each.conversation_id, turn] = (each.user_id, so_far[each.user_id] + turn)
        so_far[each.user_id] += len(each.turns)
    return places


def _used(turns: TurnTable, user_classes: Sequence[UserClass]) -> Floats:
    """Shape [num_turns]; NaN for a turn that failed or got no token."""
    delay = turns.first_token_at - turns.scheduled_at
    used = np.full(len(turns), np.nan)
    for each in user_classes:
        is_mine = (turns.user_class == each.name) & ~turns.has_failed & ~np.isnan(delay)
        rows = np.flatnonzero(is_mine)
        tbt = tbt_percentile(turns, rows, exact_fraction(each.slo.tbt_percentile))
        used[rows] = np.maximum(delay[rows] / each.slo.ttft_s, tbt / each.slo.tbt_s)
    return used
