"""Items of a JSON file one after another: of one array, or objects line after line. Only the item
at hand is in memory, however large the file is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from workloads.errors import TraceError
from workloads.traces.files import opened

CHUNK = 1 << 20  # characters
SLACK = 64  # an error so close to the end of what was read may be of the cut


def json_items(path: Path, source: str) -> Iterator[tuple[str, Any]]:
    """Yields where each item stands (file and line, and in an array its number), and its value.
    Raises TraceError."""
    with opened(path, source) as text:
        scanner = _Scanner(path, text)
        if scanner.take("["):
            yield from _of_array(scanner)
        else:
            while not scanner.is_at_end():
                yield scanner.where(), scanner.value()


def _of_array(scanner: _Scanner) -> Iterator[tuple[str, Any]]:
    number = 0
    while not scanner.take("]"):
        if number and not scanner.take(","):
            raise scanner.error("a comma or ] is missing after an item")
        scanner.is_at_end()
        yield f"{scanner.where()}: item {number}", scanner.value()
        number += 1
    if not scanner.is_at_end():
        raise scanner.error("something follows the end of the list")


class _Scanner:
    """Reads the file piece by piece; what was taken is forgotten."""

    def __init__(self, path: Path, text: TextIO) -> None:
        self._path = path
        self._text = text
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._line = 1  # of the buffer's first character
        self._has_ended = False

    def where(self) -> str:
        return f"{self._path}:{self._line_of(self._at)}"

    def error(self, problem: str, at: int | None = None) -> TraceError:
        line = self._line_of(self._at if at is None else at)
        return TraceError(f"{self._path}:{line}: not JSON: {problem}")

    def is_at_end(self) -> bool:
        """Goes to the next character that is not blank."""
        while True:
            rest = len(self._buffer)
            while self._at < rest and self._buffer[self._at].isspace():
                self._at += 1
            if self._at < rest:
                return False
            if not self._read(CHUNK):
                return True

    def take(self, character: str) -> bool:
        if self.is_at_end() or self._buffer[self._at] != character:
            return False
        self._at += 1
        return True

    def value(self) -> Any:
        """Returns the value that begins here. Raises TraceError."""
        more = CHUNK
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                if not self._may_be_cut(error) or not self._read(more):
                    raise self.error(error.msg, error.pos) from None
            except (ValueError, RecursionError) as error:  # thousands of digits; too deep
                raise self.error(str(error)) from None
            else:
                if end < len(self._buffer) or not self._read(more):
                    self._at = end
                    self._forget()
                    return value
            more *= 2

    def _may_be_cut(self, error: json.JSONDecodeError) -> bool:
        return error.msg.startswith("Unterminated") or error.pos > len(self._buffer) - SLACK

    def _read(self, num: int) -> bool:
        """Returns whether there was more."""
        piece = "" if self._has_ended else self._text.read(num)
        self._has_ended = not piece
        self._buffer += piece
        return bool(piece)

    def _forget(self) -> None:
        if self._at > CHUNK or self._at == len(self._buffer):
            self._line = self._line_of(self._at)
            self._buffer = self._buffer[self._at :]
            self._at = 0

    def _line_of(self, at: int) -> int:
        return self._line + self._buffer.count("\n", 0, at)
