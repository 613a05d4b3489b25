"""How much of its SLO each turn of each user took: users by turns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from reports.drawing.axes import MARGIN, base_layout
from reports.drawing.thinning import evenly
from reports.sections.engine_records import EngineRecords
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.measuring.attainment import Attainment, failed_conversations
from suite.measuring.deadlines import slo_use
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats
from workloads.plan import Plan

MAX_USERS = 60
MAX_TURNS = 60  # of one user
# Times the SLO: blue kept, orange missed (Tol's "sunset" ends), white at the SLO itself.
SCALE = ((0.0, "#364B9A"), (0.25, "#6EA6CD"), (0.5, "#EAECCC"), (0.75, "#F67E4B"), (1.0, "#A50026"))
REACH = 3  # the scale ends at 2 ** ±REACH times the SLO
ALL_TICKS = 20  # users, from which on the colour bar is long enough for every power of two


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Holds users by turns, for one repeat. `used` is the worst of delay / ttft, gap percentile /
    tbt and longest gap / max_gap: up to 1 the turn attains. It is NaN where the plan has no such
    turn, or the turn left no whole answer."""

    repeat: int
    user_id: tuple[str, ...]  # the worst served first
    user_class: tuple[str, ...]
    used: Floats  # [num_users, num_turns]
    is_missed: Bools  # [num_users, num_turns]: failed, or left no record
    num_users: int  # of the plan
    num_turns: int  # of the user who has most


def heat_map(turns: TurnTable, users: Attainment, plan: Plan, repeat: int) -> HeatMap | None:
    """Computes what at most MAX_USERS users made of their turns; None without a user."""
    mine = users.where(users.repeat == repeat)
    if not len(mine.repeat):
        return None
    order = np.lexsort((mine.user_id.astype(str), mine.ratio))
    chosen = order[evenly(len(order), MAX_USERS)]
    names = [str(name) for name in mine.user_id[chosen]]
    place_of = _due_places(
        _planned_places(plan, set(names)), turns.where(turns.repeat == repeat), mine, plan
    )
    num_turns = max(
        int(mine.num_planned_turns.max()), 1, *(place + 1 for _, place in place_of.values())
    )
    shape = (len(names), min(num_turns, MAX_TURNS))
    used, is_missed = np.full(shape, np.nan), np.zeros(shape, dtype=bool)
    row_of = {name: row for row, name in enumerate(names)}
    for user, place in place_of.values():
        if place < MAX_TURNS:
            is_missed[row_of[user], place] = True
    shown = turns.where(
        (turns.repeat == repeat) & np.isin(turns.user_id.astype(str), np.array(names, dtype=str))
    )
    for row, use in enumerate(slo_use(shown, ~shown.has_failed, plan.user_classes)):
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


def _due_places(
    places: dict[tuple[str, int], tuple[str, int]], turns: TurnTable, users: Attainment, plan: Plan
) -> dict[tuple[str, int], tuple[str, int]]:
    """Returns the places without those of turns that were not due before the repeat was stopped, or
    its time had passed; `turns` and `users` of the repeat."""
    num_planned = Counter(user for user, _ in places.values())
    judged = zip(users.user_id, users.num_planned_turns.tolist(), strict=True)
    cut = {user for user, num in judged if num_planned[user] > num}
    if not cut:
        return places
    asked = set(zip(turns.conversation_id, turns.turn.tolist(), strict=True))
    failed = failed_conversations(turns.where(turns.has_failed), plan)
    return {
        key: (user, place)
        for key, (user, place) in places.items()
        if user not in cut or key in asked or key[0] in failed
    }


def _planned_places(plan: Plan, users: set[str]) -> dict[tuple[str, int], tuple[str, int]]:
    """Returns (conversation, turn) ▸ (user, which of the user's turns it is), conversations in plan
    order."""
    so_far = dict.fromkeys(users, 0)
    places = {}
    for each in plan.conversations:
        if each.user_id not in users:
            continue
        for turn in range(len(each.turns)):
            places[each.conversation_id, turn] = (each.user_id, so_far[each.user_id] + turn)
        so_far[each.user_id] += len(each.turns)
    return places


def slo_heat_map(view: HeatMap) -> go.Figure:
    """Draws users by turns: how many times its SLO a turn took, on a log scale about 1."""
    num_users, num_turns = view.used.shape
    figure = go.Figure(layout=_heat_layout(view, num_users, num_turns))
    figure.add_heatmap(
        name="times the SLO",
        z=np.round(np.clip(np.log2(np.maximum(view.used, 1e-6)), -REACH, REACH), 2),
        x=list(range(1, num_turns + 1)),
        y=list(range(num_users)),
        text=_texts(view),
        hovertemplate="%{text}<extra></extra>",
        hoverongaps=False,
        zmin=-REACH,
        zmax=REACH,
        colorscale=SCALE,
        xgap=1,
        ygap=1 if num_users <= 30 else 0,
        colorbar={
            "title": {"text": "times<br>the SLO", "side": "top", "font": {"size": 11}},
            "tickfont": {"size": 11},
            **_powers(range(-REACH, REACH + 1, 1 if num_users >= ALL_TICKS else REACH)),
            "thickness": 12,
            "outlinewidth": 0,
        },
    )
    users, turns = np.nonzero(view.is_missed)
    figure.add_scatter(
        name="failed or lost",
        showlegend=len(users) > 0,
        mode="markers",
        x=turns + 1,
        y=users,
        marker={"symbol": "x", "size": 7, "color": "#888"},
        text=[
            f"{view.user_id[user]}, turn {turn + 1}"
            for user, turn in zip(users, turns, strict=True)
        ],
        hovertemplate="%{text}: no whole answer<extra></extra>",
    )
    return figure


def _powers(powers: Sequence[int]) -> dict[str, Any]:
    """Returns the ticks of the colour bar, whose ends hold all that is beyond."""
    beyond = {-REACH: "≤ ", REACH: "≥ "}
    return {
        "tickvals": list(powers),
        "ticktext": [f"{beyond.get(power, '')}{2.0**power:g}×" for power in powers],
    }


def _heat_layout(view: HeatMap, num_users: int, num_turns: int) -> go.Layout:
    return base_layout(
        height=max(240, min(560, 110 + 12 * num_users)),
        margin={**MARGIN, "r": 8},
        xaxis={
            "title": {"text": "turn of the user"},
            "range": [0.5, num_turns + 0.5],
            "dtick": max(1, num_turns // 10),
            "showgrid": False,
            "zeroline": False,
        },
        yaxis={
            "title": {"text": "users, worst on top"},
            "range": [num_users - 0.5, -0.5],
            "showticklabels": False,
            "ticks": "",
            "showgrid": False,
            "zeroline": False,
        },
    )


def _texts(view: HeatMap) -> list[list[str]]:
    return [
        [_text(view, user, turn) for turn in range(view.used.shape[1])]
        for user in range(view.used.shape[0])
    ]


def _text(view: HeatMap, user: int, turn: int) -> str:
    used = view.used[user, turn]
    if np.isnan(used):
        return ""
    kept = "kept" if used <= 1 else "missed"
    return (
        f"{view.user_id[user]} ({view.user_class[user]}), turn {turn + 1}: "
        f"{units.times(float(used))} its SLO, {kept}"
    )


def _read(records: EngineRecords) -> HeatMap | None:
    return heat_map(records.turns, records.users, records.plan, records.repeat)


def _show(_: RunFacts, views: Mapping[str, HeatMap]) -> list[Section]:
    section = Section(
        title="Each user, turn by turn",
        term="slo_use",
        how_to_read="One row a user, one cell a turn: blue kept the SLO, orange to red missed it, "
        "× got no whole answer. A red row is a user let down; a red column a bad moment.",
        figures=tuple(
            Figure(
                figure_id=f"heat-{name}", title=name, note=_note(view), figure=slo_heat_map(view)
            )
            for name, view in views.items()
        ),
    )
    return [section]


def _note(view: HeatMap) -> str:
    notes = [f"Repeat {view.repeat}."]
    if view.num_users > len(view.user_id):
        notes.append(f"{len(view.user_id)} of {view.num_users:,} users, evenly from worst to best.")
    if view.num_turns > view.used.shape[1]:
        notes.append(f"The first {view.used.shape[1]} of up to {view.num_turns:,} turns.")
    return " ".join(notes)


HEAT_MAP = RunSection(read=_read, show=_show)
