"""What holds for the repository as a whole: front page, documents, names, imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from itertools import pairwise
from pathlib import Path

import pytest
import typer

from engines.core.settings import PRESETS
from suite.cli import app

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("suite", "workloads", "engines", "reports")
MAX_README_BYTES = 10_000
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"```.*?```", re.DOTALL)
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
# A path from the root in backticks: how the documents name a file or folder to open.
NAMED_PATH = re.compile(rf"`((?:{'|'.join(PACKAGES)}|tests|benchmarks|docs)/[\w./-]*)`")


def section(text: str, title: str) -> str:
    _, _, rest = text.partition(f"\n## {title}\n")
    assert rest, f"no section {title}"
    return rest.partition("\n## ")[0]


def top_level_folders() -> set[str]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no git checkout: {done.stderr.strip()}")
    paths = [path for path in done.stdout.split("\0") if path and (ROOT / path).exists()]
    return {path.partition("/")[0] for path in paths if "/" in path}


def anchor(heading: str) -> str:
    """As GitHub makes it of a heading."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.strip().replace(" ", "-")


def anchors(document: Path) -> set[str]:
    return {anchor(each) for each in HEADING.findall(CODE.sub("", document.read_text()))}


def test_the_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_bytes()) <= MAX_README_BYTES


def test_the_readme_names_every_top_level_folder_once() -> None:
    listed = section((ROOT / "README.md").read_text(), "Folders")
    named = re.findall(r"^\* `([^`]+)/` ", listed, re.MULTILINE)
    assert sorted(named) == sorted(top_level_folders())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    dead = []
    for link in LINK.findall(CODE.sub("", document.read_text())):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, fragment = link.partition("#")
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (fragment and fragment not in anchors(target)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    named = NAMED_PATH.findall(document.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_the_drawn_layers_are_those_of_the_import_contract() -> None:
    drawn = section((ROOT / "docs/architecture.md").read_text(), "Layers")
    drawing = CODE.findall(drawn)[0]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for contract in contracts["contracts"]:
        if contract["type"] != "layers":
            continue
        groups = [layer.split(" | ") for layer in contract["layers"]]
        shown = [_shown(names, drawing) for names in groups]
        below = [places for places in shown if places]
        assert all(max(upper) < min(lower) for upper, lower in pairwise(below)), contract["name"]
        # What is drawn as "…" stands in the contract alone: single modules, no folders.
        folders = [name for names in groups for name in names if is_folder(name)]
        assert [name for name in folders if not _shown([name], drawing)] == []


def _shown(names: Sequence[str], drawing: str) -> list[int]:
    """Where in the drawing the names stand, those that do."""
    found = (re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.]\w)", drawing) for name in names)
    return [match.start() for match in found if match]


def is_folder(package: str) -> bool:
    return (ROOT / package.replace(".", "/")).is_dir()


COMMANDS = set(typer.main.get_command(app).commands)


def test_the_readme_lists_every_command() -> None:
    listed = section((ROOT / "README.md").read_text(), "Commands").partition("(")[0]
    assert set(re.findall(r"`(\S+)`", listed)) == COMMANDS


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_types_exists(document: Path) -> None:
    blocks = "\n".join(CODE.findall(document.read_text()))
    typed = re.findall(r"^\s*(?:\S*bin/)?fsbench ([a-z]+)", blocks, re.MULTILINE)
    assert set(typed) <= COMMANDS


def test_every_document_can_be_reached_from_the_readme() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    assert {f"docs/{path.name}" for path in DOCUMENTS[1:]} <= linked


def test_no_other_distribution_owns_our_package_names() -> None:
    owners = packages_distributions()
    assert {name: owners.get(name, ["fsbench"]) for name in PACKAGES} == {
        name: ["fsbench"] for name in PACKAGES
    }


def test_the_command_line_imports_nothing_heavy_before_it_must() -> None:
    code = "import sys, suite.cli; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "locust", "gevent", "numpy", "pandas", "pyarrow", "plotly", "pydantic"}
    assert heavy & set(modules) == set()


def test_the_documents_table_of_presets_is_the_programs() -> None:
    table = section((ROOT / "docs/engine.md").read_text(), "Presets").split("\n\n")[0]
    head, _, *rows = (
        [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        for line in table.strip().splitlines()
    )
    told = {name: dict(zip(head[1:], values, strict=True)) for name, *values in rows}
    real = {
        name: {mechanism: getattr(preset, mechanism) for mechanism in head[1:]}
        for name, preset in PRESETS.items()
    }
    assert told == real
    assert {preset.policy.name for preset in PRESETS.values()} == {"priority"}


RIDDLE = re.compile(r"^(Of|The same|So|Where) ")


def test_no_docstring_begins_by_sending_its_reader_elsewhere() -> None:
    found = []
    for path in sorted(each for name in PACKAGES for each in (ROOT / name).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                if RIDDLE.match(text):
                    found.append(f"{path.relative_to(ROOT)}: {text.splitlines()[0]}")
    assert found == []
