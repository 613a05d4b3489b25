"""How many blocks went in one copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from reports.drawing.axes import base_layout
from reports.drawing.palette import Look
from reports.sections.engine_records import EngineRecords, column, reading
from reports.sections.section import Figure, RunFacts, RunSection, Section
from reports.words import units
from suite.statistics.arrays import Floats

COPY_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)  # blocks a copy: lower ends of the histogram's bars


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyView:
    """Holds the share of the moved blocks by how many went in one copy, over all repeats."""

    block_ratio: Floats  # [len(COPY_SIZES)]
    num_transfers: int


def copy_view(transfers: Sequence[pa.Table]) -> CopyView | None:
    """Reads transfer logs; None where no block was moved."""
    empty = np.zeros(0)
    blocks = np.concatenate([empty, *(column(table, "num_blocks") for table in transfers)])
    runs = np.concatenate([empty, *(column(table, "num_copy_runs") for table in transfers)])
    blocks, runs = blocks[runs > 0], runs[runs > 0]
    if not blocks.sum():
        return None
    place = np.digitize(blocks / runs, COPY_SIZES) - 1
    moved = np.bincount(place, weights=blocks, minlength=len(COPY_SIZES))
    return CopyView(block_ratio=moved / blocks.sum(), num_transfers=len(blocks))


def blocks_per_copy(views: Mapping[str, CopyView], look: Mapping[str, Look]) -> go.Figure:
    """Draws the share of the moved blocks by how many went in one copy."""
    figure = go.Figure(layout=base_layout(barmode="group", bargap=0.2, height=300))
    ends = [*(each - 1 for each in COPY_SIZES[1:]), None]
    names = [
        f"{low}+" if high is None else str(low) if low == high else f"{low}–{high}"
        for low, high in zip(COPY_SIZES, ends, strict=True)
    ]
    for engine, view in views.items():
        figure.add_bar(
            name=engine,
            x=names,
            y=view.block_ratio,
            marker={"color": look[engine].colour},
            customdata=[units.percent(float(ratio)) for ratio in view.block_ratio],
            hovertemplate="%{x} blocks a copy: %{customdata} of the blocks",
        )
    figure.update_xaxes(title={"text": "blocks in one copy"}, type="category", showgrid=False)
    figure.update_yaxes(
        title={"text": "share of the moved blocks"},
        tickformat=".0%",
        range=[0, 1.02],
        dtick=0.25,
        zeroline=False,
    )
    return figure


def _read(records: EngineRecords) -> CopyView | None:
    with reading("transfers"):
        return copy_view([each.transfers for _, each in records.logs if each.transfers is not None])


def _show(facts: RunFacts, views: Mapping[str, CopyView]) -> list[Section]:
    figure = Figure(
        figure_id="blocks-per-copy",
        title="Blocks per copy",
        note=" ".join(f"{name}: {each.num_transfers:,} transfers." for name, each in views.items()),
        figure=blocks_per_copy(views, facts.look),
    )
    section = Section(
        title="How large the copies are",
        term="blocks_per_copy",
        how_to_read="Further right is better: many neighbouring blocks moved at once use the link, "
        "one at a time pays the cost of a call for each.",
        figures=(figure,) if views else (),
    )
    return [section]


COPIES = RunSection(read=_read, show=_show)
