"""Blocks on fairness: service over time, and how it was spread over the users."""

from __future__ import annotations

from reports.blocks.block import Block, Figure, RunData
from reports.figures import service as draw
from reports.views.service import ServiceView
from reports.words import units


def over_time(data: RunData) -> Block:
    return Block(
        title="Service received, over time",
        term="service",
        how_to_read="Lines close together: the classes were served alike while they waited; a line "
        "at the bottom: a class that waited in vain. Below, in grey: how far two of the users who "
        "wait are apart in what they got since both have been waiting.",
        figures=tuple(
            Figure(
                figure_id=f"service-{name}",
                title=name,
                note=_note(each.service, data, name),
                figure=draw.service_over_time(each.service),
            )
            for name, each in data.engines.items()
            if each.service is not None
        ),
    )


def _note(view: ServiceView, data: RunData, name: str) -> str:
    notes = [f"Repeat {view.repeat}, windows of {units.duration(view.window_s)}."]
    if view.gaps is None:
        notes.append("Too many waits overlap to look for the largest gap.")
    elif view.gaps.widest is not None:
        gap = view.gaps.widest
        notes.append(
            f"Largest gap drawn: {units.count(gap.tokens)} weighted tokens, {gap.most} ahead of "
            f"{gap.least}, after {units.duration(view.gaps.widest_at)}."
        )
    difference = (data.numbers[name]["fairness"] or {}).get("max_service_difference")
    if difference is not None:
        notes.append(f"Over any stretch of the run: {units.count(difference)} weighted tokens.")
    return " ".join(notes)


def lorenz(data: RunData) -> Block:
    shown = []
    for key, title in (
        ("service", "Service per second of waiting"),
        ("attainment", "Turns within SLO"),
    ):
        curves = {
            name: curve
            for name, each in data.engines.items()
            if (curve := each.lorenz[key]) is not None
        }
        if curves:
            figure = draw.lorenz_curves(curves, data.look)
            shown.append(Figure(figure_id=f"lorenz-{key}", title=title, note="", figure=figure))
    return Block(
        title="How evenly it was spread",
        term="lorenz",
        how_to_read="The nearer to the dotted diagonal, the more even. Where a line is at 20 %, "
        "the users left of it together had a fifth of all.",
        figures=tuple(shown),
    )
