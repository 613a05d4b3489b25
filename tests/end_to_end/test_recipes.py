"""The recipes of docs/workloads.md: each is a whole file that is fine as it stands, and is played
here in a small version."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.command import REPOSITORY, finish, only_run, start
from tests.end_to_end.test_sources import AGENT, caching_server, write_jsonl
from workloads.plan import Plan

PAGE = (REPOSITORY / "docs" / "workloads.md").read_text().partition("\n## Recipes\n")[2]
RECIPES = {
    str(yaml.safe_load(text)["name"]): text for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
}
QUICK = "think_time={distribution: constant, value: 10ms}"
SHORT = "conversations.length_scale=0.02"
SMALL = {
    "chat": ("conversations.duration=2s", "arrivals.rate=5", QUICK, SHORT),
    "rag": ("arrivals.over=2s", "arrivals.from_rate=2", "arrivals.to_rate=6", QUICK, SHORT),
    "completion": ("conversations.count=12", "arrivals.rate=20", SHORT),
    "agents": (),
    "replay": ("arrivals.scale=0.01", "think_time.scale=0.01"),
    "tenants": (
        "arrivals.steps=[{rate: 3, duration: 1s}, {rate: 9, duration: 1s}]",
        QUICK,
        SHORT,
    ),
}
NOTHING_WRONG = (0, 1, 3)  # gates may be missed, or left open by so few users


def with_files(folder: Path, recipe: str) -> dict[str, Any]:
    """The recipe's content, with the trace it names beside it."""
    spec: dict[str, Any] = yaml.safe_load(RECIPES[recipe])
    path = spec["conversations"].get("path")
    if recipe == "agents":
        (folder / path).write_text((folder / write_jsonl(folder, AGENT, AGENT)).read_text())
    elif recipe == "replay":
        lines = [
            {"chat_id": number, "parent_chat_id": number - 3 if number > 3 else -1}
            | {"timestamp": 1.5 * number, "input_length": 40 * (1 + number // 3)}
            | {"output_length": 5, "hash_ids": [1, 2]}
            for number in range(1, 10)
        ]
        (folder / path).write_text((folder / write_jsonl(folder, *lines)).read_text())
    return spec


def test_the_page_has_those_that_are_tested() -> None:
    assert RECIPES.keys() == SMALL.keys()


@pytest.mark.parametrize("recipe", RECIPES)
def test_it_is_fine_as_it_stands_and_its_small_version_plays(recipe: str, tmp_path: Path) -> None:
    spec = with_files(tmp_path, recipe)
    (name,) = spec["engines"]
    code, out, err = finish(start(["validate", "w.yaml"], tmp_path, spec))
    assert (code, err) == (0, ""), out + err
    with caching_server(tmp_path / "server") as (url, truth):
        spec["engines"][name]["base_url"] = url
        small = [each for value in SMALL[recipe] for each in ("--set", value)]
        code, out, err = finish(start(["run", "w.yaml", *small], tmp_path, spec))
        num_asked = len(truth.read_text().splitlines())
    assert code in NOTHING_WRONG, out + err
    run = only_run(tmp_path)
    counts = json.loads((run / "metrics.json").read_text())["engines"][name]["counts"]
    assert counts["failed"] == counts["lost"] == 0
    assert counts["recorded"] == Plan.read(run / "plan.parquet").num_turns <= num_asked
