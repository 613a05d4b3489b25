"""Blocks on the promise: who was served within SLO, class by class and turn by turn."""

from __future__ import annotations

from reports.blocks.block import Block, Figure, RunData
from reports.sections import attainment as draw
from reports.sections.heat_map import HeatMap, slo_heat_map


def attainment(data: RunData) -> Block:
    shown = []
    for key, title in (
        ("users_within_slo_ratio", "Users within SLO"),
        ("turn_attainment_ratio", "Turns within SLO"),
    ):
        found = {
            name: {"all": each["slo"], **each["slo"]["by_class"]}
            for name, each in data.numbers.items()
            if each["slo"]
        }
        if found:
            figure = draw.attainment_by_class(found, key, data.look, title)
            shown.append(Figure(figure_id=f"slo-{key}", title=title, note="", figure=figure))
    return Block(
        title="Who was served as promised",
        term="users_within_slo",
        how_to_read="Higher is better; each group of bars is one user class against its own SLO, "
        "whiskers are 95 % intervals.",
        figures=tuple(shown),
    )


def heat_maps(data: RunData) -> Block:
    return Block(
        title="Each user, turn by turn",
        term="slo_use",
        how_to_read="One row a user, one cell a turn: blue kept the SLO, orange to red missed it, "
        "× got no whole answer. A red row is a user let down; a red column a bad moment.",
        figures=tuple(
            Figure(
                figure_id=f"heat-{name}",
                title=name,
                note=_note(each.heat_map),
                figure=slo_heat_map(each.heat_map),
            )
            for name, each in data.engines.items()
            if each.heat_map is not None
        ),
    )


def _note(view: HeatMap) -> str:
    notes = [f"Repeat {view.repeat}."]
    if view.num_users > len(view.user_id):
        notes.append(f"{len(view.user_id)} of {view.num_users:,} users, evenly from worst to best.")
    if view.num_turns > view.used.shape[1]:
        notes.append(f"The first {view.used.shape[1]} of up to {view.num_turns:,} turns.")
    return " ".join(notes)
