"""The demo's workload, short and sped up: real server, driver, tokens, copies, a GPU's pace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from benchmarks.demo_runs import WORKLOAD
from engines.simulated.cost_model import CostModel
from engines.simulated.pace import Pace
from engines.simulated.paced_engine import MAX_CARRIED_S
from suite.records.run_directory import Manifest
from suite.records.turn_records import read_turns
from tests.end_to_end.command import finish, only_run, start
from workloads.yaml_file import read_yaml

PACE = Pace(profile="a10-llama3-8b", speed=4)
KV_BYTES_PER_TOKEN = 131_072  # of Llama-3-8B in bfloat16, whatever the real model's are
ENGINES = ("vllm-0.3", "fastswitch")


def shortened() -> dict[str, Any]:
    spec = read_yaml(WORKLOAD)
    spec["conversations"] |= {"count": 8, "turns": 2, "prompt_tokens": 200, "output_tokens": 6}
    spec["arrivals"] = {"process": "constant", "rate": 40.0}
    spec["think_time"] = {"distribution": "constant", "value": "50ms"}
    for engine in spec["engines"].values():
        engine |= {"pace": PACE.model_dump(), "kv_tokens": 1024, "swap_tokens": 8192}
    return {**spec, "gates": ["counts.failed <= 0", "fastswitch: ttft.p50 <= 5m"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("paced")
    code, out, err = finish(start(["run", "w.yaml"], directory, shortened()))
    # the timed gate is open on a machine too busy for the pace or the driver; nothing can fail it
    assert code in (0, 3), out + err
    return only_run(directory)


def steps_of(run: Path, engine: str) -> pd.DataFrame:
    return pd.read_parquet(run / engine / "1" / "steps.parquet")


def test_every_turn_is_answered_in_full_and_gates_follow_the_pace(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    trials = {trial.engine: trial for trial in Manifest.read(run).trials}
    for name in ENGINES:
        turns = read_turns(run / name / "1" / "turns.parquet")
        assert [sum(turn.tokens_per_chunk) for turn in turns] == [6] * 16
    driver = trials["fastswitch"].driver
    assert driver is not None
    [gate] = [each for each in metrics["gates"] if "ttft" in each["gate"]]
    is_trusted = driver.is_valid and metrics["engines"]["fastswitch"]["pace"]["is_kept"]
    assert gate["outcome"] == ("pass" if is_trusted else "inconclusive"), gate


@pytest.mark.parametrize("engine", ENGINES)
def test_no_step_is_shorter_than_the_modelled_gpu_s_and_each_says_how_late_it_was(
    run: Path, engine: str
) -> None:
    steps = steps_of(run, engine)
    assert len(steps) >= 12
    assert (steps["pace_missed_s"] >= 0).all()
    fastest_s = CostModel(PACE.loaded_profile()).products_s(1) * 32  # its layers' weights, once
    assert steps["execute_s"].min() > fastest_s > 2 * MAX_CARRIED_S
    pace = json.loads((run / "metrics.json").read_text())["engines"][engine]["pace"]
    assert pace["num_steps"] == len(steps)
    assert pace["missed_max_s"] == steps["pace_missed_s"].max()


@pytest.mark.parametrize("engine", ENGINES)
def test_copies_are_charged_as_the_modelled_model_s(run: Path, engine: str) -> None:
    transfers = pd.read_parquet(run / engine / "1" / "transfers.parquet")
    assert len(transfers) > 0
    num_bytes = transfers["num_blocks"] * 16 * KV_BYTES_PER_TOKEN
    assert (transfers["num_bytes"] == num_bytes).all()
    rate = PACE.loaded_profile().link.swap_out_bytes_per_s.value
    copying_s = transfers["copied_at"] - transfers["copying_at"]
    assert (copying_s > 0.99 * num_bytes / rate).all()


def test_every_report_says_what_is_real_and_what_is_modelled(run: Path) -> None:
    said = "paced: tokens are real, durations are a modelled NVIDIA A10's with llama-3-8b"
    metrics = json.loads((run / "metrics.json").read_text())
    for name in ENGINES:
        assert any(each.startswith(said) for each in metrics["engines"][name]["warnings"])
    page = (run / "report.html").read_text()
    assert said.removeprefix("paced: ").replace("'", "&#39;") in page
    assert ">paced</span>" in page
