"""Durations and sizes as people write them: `250ms`, `2s`, `16GiB`. Inside: seconds and bytes.

A bare number is refused, because a reader can not tell seconds from milliseconds; only 0 needs no
unit. Durations are whole microseconds, so that a plan has the same digest on every machine.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

MICROSECONDS_PER_UNIT = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
}
BYTES_PER_UNIT = {
    "B": 1,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
}
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
DURATION_PATTERN = rf"^{_NUMBER} ?(us|ms|s|m|h)$"
SIZE_PATTERN = rf"^{_NUMBER} ?({'|'.join(BYTES_PER_UNIT)})$"


def parse_duration(value: object) -> float:
    """Seconds of `"250ms"`, `"2s"`, `"1m"`, `"3h"`, `"500us"` or 0. Raises ValueError."""
    number, unit = _split(value, DURATION_PATTERN, "ms", "250ms, 2s, 1m or 3h")
    return round(number * MICROSECONDS_PER_UNIT[unit]) / 1_000_000


def parse_size(value: object) -> int:
    """Bytes of `"16GiB"`, `"512MiB"`, `"4GB"` or 0. Raises ValueError."""
    number, unit = _split(value, SIZE_PATTERN, "B", "16GiB, 512MiB or 4GB")
    return round(number * BYTES_PER_UNIT[unit])


def duration_text(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back to the same value."""
    microseconds = round(seconds * 1_000_000)
    if microseconds % 1_000_000 == 0:
        return f"{microseconds // 1_000_000}s"
    if microseconds % 1_000 == 0:
        return f"{microseconds // 1_000}ms"
    return f"{microseconds}us"


def _split(value: object, pattern: str, zero_unit: str, examples: str) -> tuple[float, str]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        if value == 0:
            return 0.0, zero_unit
        raise ValueError(f"is without unit, got {value}; write it like {examples}")
    match = re.fullmatch(pattern, value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"must be written like {examples}, got {value!r}")
    return float(match[1]), match[2]


Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"const": 0}]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(lambda size: f"{size}B", return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"const": 0}]}),
]
