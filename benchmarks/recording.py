"""What every benchmark shares: its result as a JSON file that says where it was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from suite.environment import machine, versions

RESULTS = Path(__file__).resolve().parent / "results"


def write_result(name: str, settings: Mapping[str, Any], rows: Sequence[Any]) -> Path:
    """`rows`: dataclasses, one for each line of the table."""
    path = RESULTS / f"{name}.json"
    content = {
        "benchmark": name,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
        "settings": settings,
        "rows": [asdict(row) for row in rows],
    }
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2) + b"\n")
    return path
