"""Durations as people write them: `250ms`, `2s`, `1m`. Inside: seconds.

A bare number is refused, because a reader can not tell seconds from milliseconds; only 0 needs no
unit. Durations are whole microseconds, so that a plan has the same digest on every machine.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from workloads.bounds import MAX_SECONDS

MICROSECONDS_PER_UNIT = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
}
DURATION_PATTERN = r"^([0-9]+(?:\.[0-9]+)?) ?(us|ms|s|m|h)$"
_EXAMPLES = "250ms, 2s, 1m or 3h"


def parse_duration(value: object) -> float:
    """Returns the seconds of `"250ms"`, `"2s"`, `"1m"`, `"3h"`, `"500us"` or 0. Raises
    ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return 0.0
        raise ValueError(f"is without unit, got {value}; write it like {_EXAMPLES}")
    match = re.fullmatch(DURATION_PATTERN, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be written like {_EXAMPLES}, got {value!r}")
    microseconds = float(match[1]) * MICROSECONDS_PER_UNIT[match[2]]
    if microseconds > MAX_SECONDS * 1e6:
        raise ValueError(f"must be ≤ {MAX_SECONDS // 3600}h, got {match[0][:40]!r}")
    return round(microseconds) / 1_000_000


def duration_text(seconds: float) -> str:
    """Returns the shortest text that `parse_duration` reads back to the same value."""
    microseconds = round(seconds * 1_000_000)
    if microseconds % 1_000_000 == 0:
        return f"{microseconds // 1_000_000}s"
    if microseconds % 1_000 == 0:
        return f"{microseconds // 1_000}ms"
    return f"{microseconds}us"


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"const": 0}]}),
]
