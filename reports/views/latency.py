"""What the latency figures draw of an engine: distributions per user class, thinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from reports.thinning import Ecdf, ecdf
from suite.latencies import samples
from suite.turn_table import TurnTable
from workloads.plan import Plan

SHOWN = ("first_token_delay_s", "tbt_s")
SMALLEST_LAG_S = 1e-6  # what a log axis can show


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyView:
    by_class: Mapping[tuple[str, str], Ecdf]  # (latency, user class)
    driver_lag: Ecdf


def latency_view(turns: TurnTable, plan: Plan) -> LatencyView:
    lag = samples(turns, np.ones(len(turns), dtype=bool), "driver_lag_s")
    return LatencyView(
        by_class={
            (key, each.name): ecdf(samples(turns, turns.user_class == each.name, key))
            for key in SHOWN
            for each in plan.user_classes
        },
        driver_lag=ecdf(np.maximum(lag, SMALLEST_LAG_S)),
    )
