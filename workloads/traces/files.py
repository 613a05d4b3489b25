"""Trace files row by row, plain or gzip, with errors that name file and line."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from workloads.errors import TraceError

GZIP_MAGIC = b"\x1f\x8b"
SURPLUS = "\0"  # the name of fields beyond the header


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a trace, and where it stands."""

    where: str  # file:line
    values: Mapping[str, object]

    def integer(self, key: str, minimum: int) -> int:
        return int(self._number(key, minimum, "a whole number", is_whole=True))

    def number(self, key: str, minimum: float) -> float:
        return self._number(key, minimum, "a number", is_whole=False)

    def text(self, key: str) -> str:
        return str(self.values[key])

    def error(self, problem: str) -> TraceError:
        return TraceError(f"{self.where}: {problem}")

    def _number(self, key: str, minimum: float, kind: str, *, is_whole: bool) -> float:
        value = self.values.get(key)
        try:
            number = float(value) if isinstance(value, int | float | str) else float("nan")
        except ValueError:
            number = float("nan")
        if isinstance(value, bool) or not minimum <= number < float("inf"):
            raise self.error(f"{key} must be {kind} ≥ {minimum:g}, got {value!r}")
        if is_whole and not number.is_integer():
            raise self.error(f"{key} must be {kind} ≥ {minimum:g}, got {value!r}")
        return number


@contextmanager
def opened(path: Path, source: str) -> Iterator[TextIO]:
    """Opens the file as text. `source` says where such files come from, for whoever has none."""
    try:
        with path.open("rb") as raw:
            is_gzip = raw.read(2) == GZIP_MAGIC
        if is_gzip:
            with gzip.open(path, "rt", encoding="utf-8", newline="") as text:
                yield text
        else:
            with path.open("r", encoding="utf-8-sig", newline="") as text:
                yield text
    except FileNotFoundError:
        raise TraceError(f"{path}: no such trace file; {source}") from None
    except UnicodeDecodeError as error:
        raise TraceError(f"{path}: not UTF-8 text at byte {error.start}; {source}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise TraceError(f"{path}: can not be read: {error}") from None


def csv_rows(path: Path, source: str, layouts: Collection[tuple[str, ...]]) -> Iterator[Row]:
    """Yields the rows of a csv whose header holds all columns of at least one of the layouts."""
    with opened(path, source) as text:
        reader = csv.DictReader(text, restkey=SURPLUS, strict=True)
        try:
            columns = reader.fieldnames or []
        except csv.Error as error:
            raise TraceError(f"{path}:1: not CSV with a header: {error}; {source}") from None
        if not any(set(layout) <= set(columns) for layout in layouts):
            wanted = " or ".join(", ".join(layout) for layout in layouts)
            got = ", ".join(columns) or "an empty file"
            raise TraceError(f"{path}:1: columns must hold {wanted}, got {got[:120]}")
        try:
            for values in reader:
                row = Row(f"{path}:{reader.line_num}", values)
                if None in values.values() or SURPLUS in values:
                    raise row.error(f"must have {len(columns)} fields like the header")
                yield row
        except csv.Error as error:
            raise TraceError(f"{path}:{reader.line_num + 1}: {error}") from None
