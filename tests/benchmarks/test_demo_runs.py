"""The demo's story in virtual time: it hangs neither on the machine nor on a lucky seed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.demo_runs import WORKLOAD
from benchmarks.twin import twin
from engines.simulated.pace import Pace
from tests.end_to_end.command import finish, only_run, start
from workloads.yaml_file import read_yaml


def test_the_twin_is_the_demo_in_all_but_the_device() -> None:
    workload = read_yaml(WORKLOAD)
    simulated = twin(workload)
    for name, given in workload["engines"].items():
        assert given["pace"] == "a10-llama3-8b"
        pace = Pace(profile="a10-llama3-8b").model_dump()
        others = {key: value for key, value in given.items() if key != "pace"}
        assert simulated["engines"][name] == {**others, **pace, "kind": "simulated"}
    assert simulated["model"] == "llama-3-8b"
    assert {**workload, "model": None, "engines": None} == {
        **simulated,
        "model": None,
        "engines": None,
    }


@pytest.mark.parametrize("seed", [7, 1])
def test_every_gate_of_the_demo_passes_far_from_its_bound(tmp_path: Path, seed: int) -> None:
    spec = {**twin(read_yaml(WORKLOAD)), "seed": seed}
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec))
    assert code == 0, out + err
    metrics = json.loads((only_run(tmp_path) / "metrics.json").read_text())
    vllm, fastswitch = metrics["engines"]["vllm-0.3"], metrics["engines"]["fastswitch"]
    assert vllm["slo"]["users_within_slo_ratio"] < 0.65
    assert fastswitch["slo"]["users_within_slo_ratio"] > 0.9
    assert vllm["tbt_s"]["p99"] > 2.5 * fastswitch["tbt_s"]["p99"]
    assert vllm["context_switch"]["num_preemptions"] > 0
    assert fastswitch["context_switch"]["num_preemptions"] > 0
