"""What switching between users cost, from the counters that another engine's server tells."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

_COUNTED = (
    "num_steps",
    "num_preemptions",
    "num_reused_tokens",
    "num_recomputed_tokens",
    "num_priority_updates",
)
UNTOLD = "the server does not tell it"


def server_counters(tables: Sequence[pa.Table], keys: Sequence[str]) -> dict[str, object] | None:
    """`keys`, each with what was counted during the trials of one engine, or null: what a server
    does not tell is not zero. None if it tells nothing at all."""
    counted = {name: _counted(tables, name) for name in (*_COUNTED, "num_queried_tokens")}
    if all(value is None for value in counted.values()):
        return None
    found: dict[str, float | None] = {name: counted[name] for name in _COUNTED}
    queried, reused = counted["num_queried_tokens"], counted["num_reused_tokens"]
    why_no_ratio = UNTOLD
    if queried == 0:  # then it did not look, as without prefix caching
        found["num_reused_tokens"] = None
        why_no_ratio = "the server looked for no prefix"
    elif queried is not None and reused is not None:
        found["reused_tokens_ratio"] = reused / queried
    reasons = {"num_reused_tokens": why_no_ratio, "reused_tokens_ratio": why_no_ratio}
    return {
        **{key: found.get(key) for key in keys},
        "unavailable": {key: reasons.get(key, UNTOLD) for key in keys if found.get(key) is None},
    }


def _counted(tables: Sequence[pa.Table], name: str) -> float | None:
    """Last less first, summed over the trials; None where one trial lacks it."""
    total = 0.0
    for table in tables:
        known = table[name].drop_null()
        if len(known) < 2:
            return None
        total += known[-1].as_py() - known[0].as_py()
    return total if tables else None
