from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.ablation import BASELINE, WORKLOAD, Reference, arms, scaled_link, summarise
from engines.core.settings import PRESETS
from engines.embedded.settings import FastSwitchSettings
from engines.models.model_config import PRESETS as MODELS
from tests.workloads.examples import load_spec
from workloads.build import build_plan
from workloads.yaml_file import read_yaml


def test_the_link_costs_one_context_as_many_steps_as_the_reference() -> None:
    reference, step_s = Reference(), 0.05
    assert (reference.dispatch_steps, reference.wire_steps) == pytest.approx((0.7056, 0.132), 1e-2)
    link = scaled_link(step_s, read_yaml(WORKLOAD), reference)
    # A context of 100 tokens: 50 blocks of 2, in 8 layers' K and V, 8 KiB a token.
    assert MODELS["tiny-llama"].num_layers == 8
    assert 50 * 8 * 2 * link["seconds_per_copy"] / step_s == pytest.approx(0.7056)
    assert 100 * 8192 / link["bytes_per_s"] / step_s == pytest.approx(0.132, 1e-2)


def test_every_preset_is_an_arm_that_can_run_on_the_plan() -> None:
    common = read_yaml(WORKLOAD)["engines"][BASELINE]
    link = {"bytes_per_s": 1e8, "seconds_per_copy": 1e-5}
    named = arms(common, link, [*PRESETS])
    assert len(named) == len(PRESETS)
    for settings in named.values():
        assert FastSwitchSettings(**settings).link is not None
    spec = load_spec(WORKLOAD)
    assert build_plan(spec, Path.cwd()).num_turns > len(named)


def test_ratios_are_above_one_where_an_arm_is_better() -> None:
    def engine(
        ttft: float | None, tokens_per_s: float, *, of_repeats: list[float]
    ) -> dict[str, object]:
        def groups(value: float | None) -> dict[str, object]:
            latency = dict.fromkeys(("p95", "p99", "p999", "max", "count"), value)
            return {
                "ttft_s": latency,
                "tbt_s": latency,
                "throughput": {"output_tokens_per_s": tokens_per_s},
                "slo": {"users_within_slo_ratio": 0.5},
            }

        return {
            **groups(ttft),
            "status": "complete",
            "context_switch": None,
            "warnings": [],
            "repeats": [groups(value) for value in of_repeats],
        }

    engines = {
        BASELINE: engine(2.0, 100.0, of_repeats=[2.0, 3.0]),
        "better": engine(0.5, 150.0, of_repeats=[0.5, 1.5]),
        "short": engine(None, 0.0, of_repeats=[]),
    }
    rows = {row["arm"]: row for row in summarise({"engines": engines})}
    assert rows["better"]["ttft_p99_s"]["ratio"] == 4.0
    assert rows["better"]["ttft_p99_s"]["ratio_range"] == [2.0, 4.0]
    assert rows["better"]["output_tokens_per_s"]["ratio"] == 1.5
    assert rows["short"]["ttft_p99_s"]["ratio"] is None
