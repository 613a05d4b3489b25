"""Durations in an engine's settings, written like those of the workload file: `500ms`, `120s`,
`2m`. Inside: seconds."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

MAX_SECONDS = 24 * 3600  # longer than anybody waits for a server
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PATTERN = r"^([0-9]+(?:\.[0-9]+)?) ?(us|ms|s|m|h)$"


def seconds_of(value: object) -> float:
    """Returns the seconds of `"120s"`, `"2m"` and the like, or of 0. Raises ValueError."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return 0.0
        raise ValueError(f"is without unit, got {value}; write it like 120s, 2m or 500ms")
    match = re.fullmatch(_PATTERN, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be written like 120s, 2m or 500ms, got {value!r}")
    seconds = round(float(match[1]) * _SECONDS[match[2]], 6)
    if seconds > MAX_SECONDS:
        raise ValueError(f"must be ≤ {MAX_SECONDS // 3600}h, got {match[0][:40]!r}")
    return seconds


def _text(seconds: float) -> str:
    return f"{seconds:.6f}".rstrip("0").rstrip(".") + "s"


Seconds = Annotated[
    float,
    BeforeValidator(seconds_of),
    PlainSerializer(_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": _PATTERN}, {"const": 0}]}),
]
