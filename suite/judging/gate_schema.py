"""The JSON schema of a gate, so that an editor knows every metric, class and bound."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import METRICS, ROWS
from suite.judging.gate_syntax import NUMBER
from workloads.units import MICROSECONDS_PER_UNIT

_BASELINE = rf"(?:{NUMBER}\s*\*\s*)?baseline"
_DURATION = rf"{NUMBER} ?(?:{'|'.join(MICROSECONDS_PER_UNIT)})"


def gate_schema() -> dict[str, Any]:
    """Returns what `gates` may hold, as one pattern: times with units, the rest without."""
    times = _gates(lambda row: row.kind == "time", _DURATION)
    others = _gates(lambda row: row.kind != "time", NUMBER)
    return {
        "type": "string",
        "pattern": rf"^\s*(?:[^:\s]+\s*:\s*)?(?:{times}|{others})\s*$",
        "examples": ["ttft.p99 <= 1.5s", "mine: tbt.p999[batch] <= 1.05 * baseline"],
    }


def _gates(is_chosen: Callable[[Row], bool], bound: str) -> str:
    """METRIC OPERATOR BOUND, of the chosen metrics."""
    rows = [ROWS[name] for name in METRICS if is_chosen(ROWS[name])]
    by_class = "|".join(re.escape(row.name) for row in rows if "class" in row.scopes)
    whole = "|".join(re.escape(row.name) for row in rows if "class" not in row.scopes)
    metric = rf"(?:(?:{by_class})(?:\[[^\]]+\])?|(?:{whole}))"
    return rf"{metric}\s*(?:<=|>=|<|>)\s*(?:{bound}|{_BASELINE})"
