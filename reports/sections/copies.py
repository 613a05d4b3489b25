"""How many blocks went in one copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
import pyarrow as pa

from reports.drawing.axes import base_layout
from reports.drawing.palette import Look
from reports.words import units
from suite.statistics.arrays import Floats

COPY_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)  # blocks a copy: lower ends of the histogram's bars


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyView:
    """Over all repeats: share of the moved blocks by the blocks that went in one copy."""

    block_ratio: Floats  # [len(COPY_SIZES)]
    num_transfers: int


def copy_view(transfers: Sequence[pa.Table]) -> CopyView | None:
    empty = np.zeros(0)
    blocks = np.concatenate([empty, *(_floats(table, "num_blocks") for table in transfers)])
    runs = np.concatenate([empty, *(_floats(table, "num_copy_runs") for table in transfers)])
    blocks, runs = blocks[runs > 0], runs[runs > 0]
    if not blocks.sum():
        return None
    place = np.digitize(blocks / runs, COPY_SIZES) - 1
    moved = np.bincount(place, weights=blocks, minlength=len(COPY_SIZES))
    return CopyView(block_ratio=moved / blocks.sum(), num_transfers=len(blocks))


def _floats(table: pa.Table, name: str) -> Floats:
    values: Floats = table[name].to_numpy().astype(np.float64)
    return values


def blocks_per_copy(views: Mapping[str, CopyView], look: Mapping[str, Look]) -> go.Figure:
    """Histogram: share of the moved blocks by how many went in one copy."""
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
