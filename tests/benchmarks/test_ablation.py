from __future__ import annotations

from pathlib import Path

from benchmarks.ablation import BASELINE, WORKLOAD, arms, capacity, look, summarise
from engines.core.settings import PRESETS
from engines.embedded.settings import FastSwitchSettings
from tests.workloads.examples import load_spec
from workloads.build import build_plan
from workloads.yaml_file import read_yaml


def test_every_preset_is_an_arm_that_can_run_on_the_plan_at_one_pace() -> None:
    common = read_yaml(WORKLOAD)["engines"][BASELINE]
    named = arms(common, [*PRESETS])
    assert len(named) == len(PRESETS)
    paces = {
        FastSwitchSettings(**settings).resolve("nano-llama").pace for settings in named.values()
    }
    assert len(paces) == 1 and None not in paces
    spec = load_spec(WORKLOAD)
    assert build_plan(spec, Path.cwd()).num_turns > len(named)


def test_the_baseline_s_capacity_is_the_twin_s_and_no_machine_s(tmp_path: Path) -> None:
    workload = read_yaml(WORKLOAD)
    found = [capacity(look(tmp_path / name, workload, 20)) for name in ("first", "again")]
    assert found[0] == found[1] > 0


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
