"""What modules may know of each other, beyond the contract in pyproject.toml: no circles, and no
kind of engine by its name outside engines/."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from engines.registry import KINDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("suite", "workloads", "engines", "reports")


def modules() -> dict[str, Path]:
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imported(source: str, known: Mapping[str, object]) -> Iterator[str]:
    """Names of the known modules that a source imports anywhere: at the top, inside a function, or
    for a type checker alone."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                if inner in known or node.module in known:
                    yield inner if inner in known else node.module


def circle(sources: Mapping[str, str]) -> str:
    """The first circle of imports, as `a → b → a`; empty where there is none."""
    graph = {name: set(imported(text, sources)) - {name} for name, text in sources.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return " → ".join(reversed(error.args[1]))
    return ""


def test_no_imports_go_in_a_circle() -> None:
    assert circle({name: path.read_text() for name, path in modules().items()}) == ""


@pytest.mark.parametrize(
    "back",
    [
        "import a.first",
        "from a import first",
        "from a.first import Thing",
        "def late():\n    from a.first import Thing",
        "if TYPE_CHECKING:\n    from a.first import Thing",
    ],
)
def test_a_circle_is_seen_however_it_is_imported(back: str) -> None:
    sources = {"a.first": "from a.second import x", "a.second": "import b", "b": back}
    assert circle(sources).count("→") == 3
    assert circle({**sources, "b": "import os"}) == ""


# What says a kind's name and means something else: a file format of other tools, which calls a kind
# of endpoint so; a made-up server, which says that it is vLLM.
OTHER_MEANINGS = {"suite/measuring/vllm_bench.py", "suite/driver/caching_server.py"}


def constants(source: str) -> set[str]:
    nodes = ast.walk(ast.parse(source))
    return {
        each.value for each in nodes if isinstance(each, ast.Constant) if type(each.value) is str
    }


def test_no_kind_of_engine_is_told_by_its_name_outside_engines() -> None:
    """A settings object answers for its kind, and a run's manifest records the facts of it."""
    found = {
        path: names
        for package in ("suite", "workloads", "reports")
        for path in sorted((ROOT / package).rglob("*.py"))
        if (names := constants(path.read_text()) & set(KINDS))
    }
    assert {str(path.relative_to(ROOT)) for path in found} == OTHER_MEANINGS
