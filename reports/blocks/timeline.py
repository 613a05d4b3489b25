"""The block of the request timelines, all engines on one scale of colours."""

from __future__ import annotations

from reports.blocks.block import Block, Figure, RunData
from reports.sections.timeline import Timeline, turn_timeline

FALLBACK_RANGE_S = (0.1, 1.0)  # of a run without a single gap


def timeline(data: RunData) -> Block:
    views = {
        name: each.timeline for name, each in data.engines.items() if each.timeline is not None
    }
    ranges = [each.gap_range_s for each in views.values() if each.gap_range_s is not None]
    typical_s = min((low for low, _ in ranges), default=FALLBACK_RANGE_S[0])
    longest_s = max((high for _, high in ranges), default=FALLBACK_RANGE_S[1])
    return Block(
        title="Every turn, over time",
        term="timeline",
        how_to_read="One lane per conversation, grey while waiting for the first token, then "
        "brighter the longer the longest gap of the stream. Bright bars that line up in a column: "
        "the whole engine stalled there. Hover for the numbers, drag to zoom.",
        figures=tuple(
            Figure(
                figure_id=f"timeline-{name}",
                title=name,
                note=_note(view),
                figure=turn_timeline(
                    view.bars, view.failures, view.num_lanes, (typical_s, longest_s)
                ),
            )
            for name, view in views.items()
        ),
    )


def _note(view: Timeline) -> str:
    note = f"Repeat {view.repeat}."
    if view.num_lanes < view.num_conversations:
        note += f" {view.num_lanes} of {view.num_conversations:,} conversations, evenly spread."
    return note
