"""What the latency figures draw of an engine: distributions per user class, thinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reports.drawing.thinning import Ecdf, ecdf
from suite.measuring.latencies import samples_and_rows
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools
from workloads.plan import Plan

SHOWN = ("first_token_delay_s", "tbt_s")
SMALLEST_LAG_S = 1e-6  # what a log axis can show


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyView:
    by_class: Mapping[tuple[str, str], Ecdf]  # (latency, user class)
    driver_lag: Ecdf


def latency_view(turns: TurnTable, plan: Plan) -> LatencyView:
    everyone = np.ones(len(turns), dtype=bool)
    return LatencyView(
        by_class={
            (key, each.name): _ecdf(turns, turns.user_class == each.name, key)
            for key in SHOWN
            for each in plan.user_classes
        },
        driver_lag=_ecdf(turns, everyone, "driver_lag_s", at_least=SMALLEST_LAG_S),
    )


def _ecdf(turns: TurnTable, rows: Bools, key: str, at_least: float = 0.0) -> Ecdf:
    values, row = samples_and_rows(turns, rows, key)
    if at_least:  # a copy, which millions of gaps are spared
        values = np.maximum(values, at_least)
    return ecdf(values, turns.conversation[row])
