"""How the engine spent the latency of its requests: state by state, from its request log."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from suite.statistics.arrays import Floats
from suite.statistics.quantiles import PERCENTILES, quantile_rank, samples_needed

STATES = ("queued", "preempted", "swap_wait", "held", "stalled", "computing")


Shares = dict[str, dict[str, float] | None]


def latency_shares(requests: Sequence[pa.Table]) -> tuple[Shares, dict[str, str]]:
    """Σ seconds in a state / Σ latency over the finished requests of all trials, of all of them and
    of the slowest 1 %; aborted requests do not count. With the reasons of what is None."""
    spent = np.concatenate([_spent(table) for table in requests] or [np.zeros((0, len(STATES)))])
    latency = spent.sum(axis=1)
    shares: Shares = {"latency_shares": None, "latency_shares_p99": None}
    unavailable = {}
    if latency.sum() > 0:
        shares["latency_shares"] = _shares(spent)
    else:
        unavailable["latency_shares"] = "the engine logged no finished request"
    p99 = PERCENTILES["p99"]
    if len(latency) >= samples_needed(p99) and latency.sum() > 0:
        ascending = np.argsort(latency, kind="stable")
        shares["latency_shares_p99"] = _shares(spent[ascending[quantile_rank(len(latency), p99) :]])
    else:
        unavailable["latency_shares_p99"] = (
            f"needs at least {samples_needed(p99)} finished requests, has {len(latency)}"
        )
    return shares, unavailable


def _spent(requests: pa.Table) -> Floats:
    """[num_finished, num_states] seconds."""
    has_finished = requests["finish_reason"].to_numpy() != "abort"
    columns = [requests[f"{state}_s"].to_numpy()[has_finished] for state in STATES]
    return np.stack(columns, axis=1).astype(np.float64)


def _shares(spent: Floats) -> dict[str, float]:
    ratios = spent.sum(axis=0) / spent.sum()
    return {f"{state}_ratio": float(ratio) for state, ratio in zip(STATES, ratios, strict=True)}
