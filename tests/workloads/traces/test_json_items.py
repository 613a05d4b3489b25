"""JSON read item by item gives what reading it whole gives."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.errors import TraceError
from workloads.traces import json_items as module
from workloads.traces.json_items import json_items

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES), max_size=5)


def items(folder: Path, text: str) -> list[object]:
    path = folder / "items.json"
    path.write_text(text, encoding="utf-8")
    return [value for _, value in json_items(path, "from somewhere")]


@given(
    found=OBJECTS,
    chunk=st.integers(1, 50),
    is_array=st.booleans(),
    indent=st.sampled_from([None, 1]),
    is_ascii=st.booleans(),
)
def test_any_items_are_read_whatever_the_pieces(
    found: list[object], chunk: int, is_array: bool, indent: int | None, is_ascii: bool
) -> None:
    def dumped(value: object) -> str:
        return json.dumps(value, indent=indent, ensure_ascii=is_ascii)

    text = dumped(found) if is_array else "\n\n".join(dumped(each) for each in found)
    with TemporaryDirectory() as folder, patch.object(module, "CHUNK", chunk):
        text = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        assert items(Path(folder), text) == (json.loads(text) if is_array else found)


def test_places_are_lines_and_in_an_array_numbers(tmp_path: Path) -> None:
    path = tmp_path / "items.json"
    path.write_text('{"a": 1}\n\n{"b":\n2}\n{"c": 3}')
    assert [where for where, _ in json_items(path, "")] == [f"{path}:{line}" for line in (1, 3, 5)]
    path.write_text("[\n{},\n{}]")
    assert [where for where, _ in json_items(path, "")] == [
        f"{path}:2: item 0",
        f"{path}:3: item 1",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1}\n{"b": }\n', ":2: not JSON: Expecting value"),
        ('{"a": 1}\n{"b": 1', ":2: not JSON: Expecting ',' delimiter"),
        ('{"a": 1}\n\n{"b": "x', ":3: not JSON: Unterminated string"),
        ("[1\n2]", ":2: not JSON: a comma or ] is missing after an item"),
        ("[1]\n[2]", ":2: not JSON: something follows the end of the list"),
        ("[1,\n", ":2: not JSON: Expecting value"),
        ("[" * 100_000, ":1: not JSON: "),
    ],
)
def test_what_is_no_json_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(TraceError) as caught:
        items(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path}/items.json{problem}")
    assert "\n" not in str(caught.value)


def test_an_error_far_from_the_end_is_told_without_reading_on(tmp_path: Path) -> None:
    """A file of gigabytes that is broken in its second line must not be taken into memory."""
    path = tmp_path / "items.json.gz"
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write('{"a": 1}\n{"b" 2}\n')
        for _ in range(64):
            file.write('{"c": "%s"}\n' % ("x" * 1_000_000))
    tracemalloc.start()
    with pytest.raises(TraceError, match=r":2: not JSON: Expecting ':' delimiter"):
        list(json_items(path, ""))
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("opening", ["", "["])
def test_only_the_item_at_hand_is_in_memory(tmp_path: Path, opening: str) -> None:
    path = tmp_path / "items.json.gz"
    item = json.dumps({"words": "x" * 100_000})
    with gzip.open(path, "wt", compresslevel=1) as file:
        file.write(
            opening + ("," if opening else "\n").join([item] * 400) + ("]" if opening else "")
        )
    tracemalloc.start()
    assert sum(len(value["words"]) for _, value in json_items(path, "")) == 40_000_000
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
