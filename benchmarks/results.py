"""Results as JSON files under benchmarks/results/, each with the machine that gave it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from suite.playing.environment import commit, machine, versions

Json = dict[str, Any]
DIRECTORY = Path(__file__).parent / "results"
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What gave the numbers; by default the code and the machine that write them down."""

    commit: str | None = field(default_factory=commit)
    machine: Json = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=versions)


def write_result(
    name: str,
    *,
    settings: Mapping[str, Any],
    results: Any,
    remark: str | None = None,
    origin: Origin | None = None,
    folder: Path | None = None,
) -> Path:
    """Writes NAME.json to benchmarks/results, or to another folder, and returns its path;
    `settings` are the script's own, as they were used."""
    document = {
        "schema_version": SCHEMA_VERSION,
        "benchmark": name,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        **asdict(origin or Origin()),
        **({} if remark is None else {"remark": remark}),
        "settings": dict(settings),
        "results": results,
    }
    folder = folder or DIRECTORY
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    return path


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, has_header: bool = True
) -> None:
    """Prints plain columns: the first is text, the others stand right-aligned. A table that comes
    row by row gives its header each time, for the widths, and shows it once."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    for row in cells if has_header else cells[1:]:
        others = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join([row[0].ljust(widths[0]), *others]), flush=True)
