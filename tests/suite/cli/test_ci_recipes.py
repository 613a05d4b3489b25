"""docs/ci.md's recipes: every block parses, every command exists with those options, every workload
and every gate in it is one that fsbench accepts."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from suite.cli import app
from suite.judging.judged_run import read_rules

DOCUMENT = (Path(__file__).parents[3] / "docs" / "ci.md").read_text()
BLOCKS: list[Any] = [
    yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
]
JOBS = [
    each["gate"] if "gate" in each else each["jobs"]["gate"]
    for each in BLOCKS
    if "gate" in each or "jobs" in each
]
RULES = Path("workloads/ci-rules.yaml")


def lines_of(job: dict[str, Any]) -> Iterator[str]:
    """What the shell of a job is given, one line each."""
    given = [*job.get("script", []), *job.get("after_script", [])]
    given += [step["run"] for step in job.get("steps", []) if "run" in step]
    for each in given:
        yield from each.splitlines()


SHELL = [line for job in JOBS for line in lines_of(job)]
SHELL += re.findall(r"^    ((?:fsbench|python) (?:.*\\\n)*.*)$", DOCUMENT, re.MULTILINE)


def test_the_document_has_a_recipe_of_each_kind() -> None:
    assert sum("steps" in job for job in JOBS) == sum("script" in job for job in JOBS) == 2
    assert sum("engines" in each for each in BLOCKS) == 1
    assert len(BLOCKS) == 6


@pytest.mark.parametrize("line", SHELL)
def test_every_line_is_for_a_shell_and_every_command_is_known(line: str) -> None:
    expanded = re.sub(r"\$\{\{.*?\}\}", "expanded", line)  # by GitHub, before the shell sees it
    subprocess.run(["bash", "-n", "-c", expanded], check=True, capture_output=True)
    words = shlex.split(re.split(r"\|\|", expanded)[0])
    if words[0] != "fsbench":
        return
    command: Any = typer.main.get_command(app)
    names = words[1:]
    while hasattr(command, "commands"):
        command = command.commands[names.pop(0)]
    command.make_context("fsbench", names)  # unknown options and missing arguments raise


@pytest.mark.parametrize("code", [0, 1, 3, 4])
def test_only_an_inconclusive_gate_is_forgiven(code: int) -> None:
    [guard] = {line.split("||")[1] for line in SHELL if "||" in line}
    done = subprocess.run(["bash", "-e", "-c", f"(exit {code}) || {guard}"], check=False)
    assert (done.returncode == 0) == (code in (0, 3))


def test_the_workload_of_the_noisy_recipe_is_valid_and_its_gates_are(tmp_path: Path) -> None:
    [workload] = [each for each in BLOCKS if "engines" in each]
    path = tmp_path / "gate.yaml"
    path.write_text(yaml.safe_dump(workload, sort_keys=False))
    found = CliRunner().invoke(app, ["validate", str(path)])
    assert found.exit_code == 0, found.output
    assert "200 conversations" in found.output and "engines: before, after" in found.output


def test_the_rules_shown_are_the_rules_used() -> None:
    [shown] = [each for each in BLOCKS if set(each) == {"gates"}]
    assert shown["gates"] == read_rules(RULES)
