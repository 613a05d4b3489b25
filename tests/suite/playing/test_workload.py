"""A workload whose plan comes from a file."""

from __future__ import annotations

import pytest
import yaml

from suite.judging.gate_syntax import GateError
from suite.playing.workload import load_workload, resolve_workload
from tests.reports.synthetic_run import make_plan
from workloads.plan import Plan
from workloads.source import read_source


def test_gates_are_held_against_the_user_classes_of_the_plan_that_is_played(tmp_path):
    make_plan().write(tmp_path / "other.parquet")
    spec = {
        "name": "w",
        "seed": 1,
        "conversations": {
            "source": "fixed",
            "count": 2,
            "turns": 1,
            "prompt_tokens": 5,
            "output_tokens": 3,
        },
        "arrivals": {"process": "constant", "rate": 1.0},
        "users": {"vip": {"share": 1, "slo": {"ttft": "1s", "tbt": "1s", "attainment": 0.9}}},
        "engines": {"mine": {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}},
        "gates": ["ttft.p50[vip] <= 1s"],
    }
    path = tmp_path / "w.yaml"
    path.write_text(yaml.safe_dump(spec))
    assert load_workload(path).plan.user_classes[0].name == "vip"
    with pytest.raises(GateError, match="choose one of: interactive, standard, batch"):
        resolve_workload(read_source(path), plan=Plan.read(tmp_path / "other.parquet"))
