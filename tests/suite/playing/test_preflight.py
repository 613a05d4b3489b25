"""What is refused before anything is started: models that are not there, plans that do not fit."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.playing.preflight import NUM_UNQUESTIONED, plan_bytes, unheard_priorities
from suite.playing.workload import load_workload
from workloads.errors import WorkloadError

QUICKSTART = Path("workloads/quickstart.yaml")


def validate(model: str | Path) -> tuple[int, str]:
    found = CliRunner().invoke(app, ["validate", str(QUICKSTART), "--set", f"model={model}"])
    error = found.exception
    return found.exit_code, str(error) if isinstance(error, WorkloadError) else found.output


def test_a_preset_is_fine():
    code, output = validate("tiny-llama")
    assert (code, "fine" in output) == (0, True)


def test_a_model_that_is_nowhere_is_refused(tmp_path):
    code, output = validate(tmp_path / "nowhere")
    assert code != 0
    assert "is neither a preset (nano-llama, tiny-llama" in output
    assert str(QUICKSTART) in output


def test_a_folder_needs_a_config_and_weights(tmp_path):
    assert "config.json" in validate(tmp_path)[1]
    made = CliRunner().invoke(app, ["model", "write", str(tmp_path / "whole")])
    assert made.exit_code == 0
    assert validate(tmp_path / "whole")[0] == 0
    (tmp_path / "whole" / "model.safetensors").unlink()
    code, output = validate(tmp_path / "whole")
    assert code != 0
    assert "neither model.safetensors" in output


def test_a_plan_that_would_not_fit_is_refused_with_the_arithmetic():
    huge = 10**8
    with pytest.raises(WorkloadError) as refused:
        load_workload(QUICKSTART, [f"conversations.count={huge}"])
    text = str(refused.value)
    assert text.startswith(f"{QUICKSTART}: conversations.count {huge:,}: the plan alone would take")
    most = int(re.search(r"ask for ([\d,]+) at most", text)[1].replace(",", ""))
    assert NUM_UNQUESTIONED < most < huge


def test_a_plan_is_weighed_by_its_tokens_and_turns():
    few, many = (
        load_workload(QUICKSTART, [f"conversations.count={count}"]).plan for count in (5, 50)
    )
    assert plan_bytes(few) > 4 * few.num_new_prompt_tokens
    assert plan_bytes(many) > 5 * plan_bytes(few)


SERVER = "engines={mine: {kind: openai, base_url: 'http://127.0.0.1:9/v1'}}"
ALONE = ["baseline=null", "gates=[]", SERVER]
RANDOM = "priorities={pattern: random}"


@pytest.mark.parametrize(
    ("overrides", "note"),
    [
        ([], None),
        (
            ["priorities={pattern: none}"],
            "users.interactive.priority is not used without priorities: {pattern: static}",
        ),
        (
            [*ALONE, RANDOM],
            "engine 'mine' is sent no priorities; set priority: true if its server takes them, "
            "or put ${priority} into a header or extra_body",
        ),
        ([*ALONE, RANDOM, "engines.mine.priority=true"], None),
    ],
)
def test_priorities_that_nobody_hears_of_are_told(overrides, note):
    workload = load_workload(QUICKSTART, overrides)
    assert unheard_priorities(workload.spec, workload.engines) == ([note] if note else [])
    settings = [text for override in overrides for text in ("--set", override)]
    for command in ("validate", "plan"):
        output = CliRunner().invoke(app, [command, str(QUICKSTART), *settings]).output
        assert (f"! {note}" in output) == (note is not None)
