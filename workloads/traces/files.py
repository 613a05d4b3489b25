"""Trace files row by row, plain or gzip, with errors that name file and line."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from workloads.bounds import MAX_SECONDS, MAX_TOKENS
from workloads.errors import TraceError

MAX_INSTANT_S = 100_000_000_000  # of any calendar; more are milliseconds, or nonsense
GZIP_MAGIC = b"\x1f\x8b"
SURPLUS = "\0"  # the name of fields beyond the header


@dataclass(frozen=True, slots=True)
class Row:
    """One record of a trace, and where it stands."""

    where: str  # file:line
    values: Mapping[str, object]

    def integer(self, key: str, minimum: int, maximum: int = MAX_TOKENS) -> int:
        number = self._number(key, minimum, "a whole number", is_whole=True)
        return int(self._at_most(maximum, key, number))

    def number(self, key: str, minimum: float) -> float:
        return self._number(key, minimum, "a number", is_whole=False)

    def instant_us(self, key: str, us_per_unit: int) -> int:
        """Returns an instant in microseconds; epochs are as good as 0."""
        number = self.number(key, 0.0)
        self._at_most(MAX_INSTANT_S * 1_000_000 // us_per_unit, key, number)
        return round(number * us_per_unit)

    def duration_us(self, key: str) -> int:
        """Returns a duration that is given in seconds, in microseconds."""
        return round(self._at_most(MAX_SECONDS, key, self.number(key, 0.0)) * 1e6)

    def text(self, key: str) -> str:
        return str(self.values[key])

    def error(self, problem: str) -> TraceError:
        return TraceError(f"{self.where}: {problem}")

    def _at_most(self, maximum: int, key: str, number: float) -> float:
        if number > maximum:
            raise self.error(f"{key} must be ≤ {maximum:,}, got {self.values[key]!r}")
        return number

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
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as text:
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
            columns = _columns(reader)
        except csv.Error as error:
            raise TraceError(f"{path}:1: not CSV with a header: {error}; {source}") from None
        if not any(set(layout) <= set(columns) for layout in layouts):
            wanted = " or ".join(", ".join(layout) for layout in layouts)
            got = ", ".join(columns) or "an empty file"
            raise TraceError(f"{path}:1: columns must hold {wanted}, got {got[:120]}")
        try:
            for values in reader:
                if _is_blank(values):
                    continue
                row = Row(f"{path}:{reader.line_num}", values)
                if None in values.values() or SURPLUS in values:
                    raise row.error(f"must have {len(columns)} fields like the header")
                yield row
        except csv.Error as error:
            raise TraceError(f"{path}:{reader.line_num + 1}: {error}") from None


def _columns(reader: csv.DictReader[str]) -> list[str]:
    """Returns the names in the first line that is not blank, without the spaces around them."""
    reader.fieldnames = names = [name.strip() for name in reader.fieldnames or []]
    while not any(names):
        try:
            names = [name.strip() for name in next(reader.reader)]
        except StopIteration:
            return []
        reader.fieldnames = names
    return names


def _is_blank(values: Mapping[str, Any]) -> bool:
    fields = [*values.values()]
    return all(each is None or each == [] or not str(each).strip() for each in fields)


def json_rows(path: Path, source: str) -> Iterator[Row]:
    """Yields the objects of a file that has one on each line; blank lines are passed over."""
    with opened(path, source) as text:
        for line, content in enumerate(text, start=1):
            if not content.strip():
                continue
            row = Row(f"{path}:{line}", {})
            try:
                values = json.loads(content)
            except json.JSONDecodeError as error:
                raise row.error(f"not JSON: {error.msg}") from None
            except (ValueError, RecursionError) as error:
                raise row.error(f"not JSON: {error}") from None
            if not isinstance(values, dict):
                raise row.error(f"must be a JSON object, got {content.strip()[:40]!r}")
            yield Row(row.where, values)
