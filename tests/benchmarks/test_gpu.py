from __future__ import annotations

import json
import re
import weakref
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import gpu, gpu_parts
from benchmarks.time_plan import Stage, TimePlan
from benchmarks.wall_clock import Player, numbers
from engines.core.settings import PRESETS, CoreSettings
from tests.engines.core.memory_device import MemoryDevice
from workloads.plan import Plan

CORE = CoreSettings(
    mechanisms=PRESETS["vllm-0.3"],
    block_size=16,
    kv_tokens=1024,
    swap_tokens=10_240,
    max_batch_tokens=512,
    max_num_seqs=64,
)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(gpu, "THINK_TIME", {"distribution": "constant", "value": "1ms"})
    return gpu.plan_of(Namespace(conversations=8, kv_tokens=1024, length_scale=0.1, rate=500.0))


def player_of(plan: Plan) -> Player:
    device = MemoryDevice(
        block_size=16, num_device_blocks=CORE.num_device_blocks, num_host_blocks=640
    )
    return Player(plan, CORE, device)


def test_every_turn_of_the_plan_is_answered_with_its_history(plan: Plan) -> None:
    player = player_of(plan)
    player.play(1e9)
    assert len(player.turns) == sum(len(each.turns) for each in plan.conversations) > 8
    for asked in player.turns:
        planned = plan.conversations[asked.conversation].turns[: asked.turn + 1]
        assert len(asked.token_at) == planned[-1].num_output_tokens
        history = sum(turn.num_output_tokens for turn in planned[:-1])
        prompts = sum(len(turn.new_prompt_token_ids) for turn in planned)
        assert len(asked.request.prompt_token_ids) == history + prompts
    found = numbers(player)
    assert found["num_unfinished_turns"] == 0
    num_tokens = sum(turn.num_output_tokens for c in plan.conversations for turn in c.turns)
    assert found["output_tokens_per_s"] * found["duration_s"] == pytest.approx(num_tokens)


def test_what_a_limit_cuts_off_is_counted_and_waits_in_ttft(plan: Plan) -> None:
    player = player_of(plan)
    steps_left = iter([True] * 3)
    step = player._step

    def slow_step() -> None:
        if not next(steps_left, False):
            player.began_at -= 100  # the limit has passed
        step()

    player._step = slow_step  # type: ignore[method-assign]
    player.play(50.0)
    found = numbers(player)
    num_planned = sum(len(each.turns) for each in plan.conversations)
    finished = [t for t in player.turns if len(t.token_at) == t.request.sampling.max_tokens]
    assert found["num_unfinished_turns"] == num_planned - len(finished) > 0
    waiting = [t for t in player.turns if not t.token_at]
    assert found["ttft_max_s"] >= max((player.ended_at - t.due_at for t in waiting), default=0)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    at_most=st.lists(st.floats(1, 50), min_size=1, max_size=12),
    shares=st.lists(st.floats(0, 1), min_size=12, max_size=12),
    total_s=st.floats(1, 300),
)
def test_stages_end_in_time_and_the_last_ones_are_left_out(
    at_most: list[float], shares: list[float], total_s: float
) -> None:
    clock = Clock()
    stages = [Stage(name=str(i), at_most_s=limit) for i, limit in enumerate(at_most)]
    plan = TimePlan(stages, total_s=total_s, clock=clock)
    for stage, share in zip(stages, shares, strict=False):
        limit_s = plan.limit_s(stage)
        assert limit_s is None or 0 < limit_s <= stage.at_most_s
        if limit_s is not None:
            clock.now += share * limit_s
    assert plan.passed_s <= total_s + 1e-6
    if sum(at_most) <= total_s:
        assert plan.skipped == []


def test_the_plan_is_inside_nine_minutes_with_what_matters_first() -> None:
    measurement = gpu.Measurement(gpu.arguments([]))
    script = (Path(gpu.__file__).parent / "gpu.sh").read_text()
    tests_s, limit_s = (
        int(number) for number in re.findall(r"FSBENCH_GPU_(?:TESTS|LIMIT)_S:-(\d+)", script)
    )
    planned_s = sum(stage.at_most_s for stage in measurement.stages)
    assert planned_s <= measurement.args.total_s < limit_s
    assert tests_s + limit_s <= 540
    names = [stage.name for stage in measurement.stages]
    presets = [name for name in names if name in PRESETS]
    assert presets[:3] == ["fastswitch", "vllm-0.3", "recompute-prefix"]
    assert sorted(presets) == sorted(PRESETS)
    assert names.index("recompute-prefix") < names.index("steps") < names.index("fastswitch-x")


@pytest.fixture
def measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> gpu.Measurement:
    """Presets on a CPU, with what is measured below them left out."""
    given = ["--quick", "--rate", "1000", "--device", "cpu", "--model", "tiny-llama", "--out"]
    monkeypatch.setattr(gpu, "ways_of_stepping", lambda _: {})
    monkeypatch.setattr(gpu, "ways_of_swapping", lambda _: [])
    monkeypatch.setattr(gpu, "measure_peaks", lambda _: {"memory_bytes_per_s": 1.0})
    return gpu.Measurement(gpu.arguments([*given, str(tmp_path)]))


def written(folder: Path) -> Any:
    return json.loads((folder / "gpu.json").read_text())["results"]


def test_each_preset_is_written_down_before_the_next_and_a_failure_ends_nothing(
    measurement: gpu.Measurement, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def play(preset: str, *_: object) -> dict[str, Any]:
        assert [row["preset"] for row in written(tmp_path)["presets"]] == [
            each for each in seen if each != "vllm-0.3"
        ]
        seen.append(preset)
        if preset == "vllm-0.3":
            raise RuntimeError("an illegal address")
        return {"preset": preset}

    monkeypatch.setattr(gpu, "play_preset", play)
    monkeypatch.setattr(gpu, "show_presets", lambda _: None)
    measurement.run()
    assert sorted(seen) == sorted(PRESETS)
    assert written(tmp_path)["failures"] == ["vllm-0.3: an illegal address"]
    assert len(written(tmp_path)["presets"]) == len(PRESETS) - 1


def test_a_device_is_gone_before_the_next_is_built(
    measurement: gpu.Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two real presets, whose engines know their device and it their pools."""
    pools: list[weakref.ref[object]] = []
    real = gpu_parts.TorchDevice

    def build(*args: Any, **settings: Any) -> Any:
        assert [each() for each in pools] == [None] * len(pools)
        device = real(*args, **settings)
        pools.append(weakref.ref(device._host_pool.by_part))
        return device

    monkeypatch.setattr(gpu_parts, "TorchDevice", build)
    measurement._prepare(10.0)
    for preset in ("fastswitch", "vllm-0.3"):
        row = gpu.play_preset(preset, measurement._plan, measurement._loaded, measurement.args, 0.5)
        assert row["num_turns"] > 0
    assert len(pools) == 3  # with the one that the kernels were compiled for


def test_steps_end_in_time_with_one_measured_at_least(
    measurement: gpu.Measurement, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_parts, "BATCH_SIZES", (1, 2))
    measurement._prepare(10.0)
    rows = gpu_parts.measure_steps(measurement._loaded, "torch", {"memory_bytes_per_s": 1e9}, 0.0)
    assert [row["step"] for row in rows] == ["decode 1", "decode 2", "prefill 512"]
    assert [row["num_repeats"] for row in rows] == [1, 1, 1]
    assert all(row["step_s"] > 0 for row in rows)
    assert rows[0]["floor_s"] < rows[1]["floor_s"]


def test_a_device_that_somebody_keeps_is_told(measurement: gpu.Measurement) -> None:
    measurement._prepare(10.0)
    kept: list[object] = []
    pools = dict.fromkeys(("num_device_blocks", "num_host_blocks"), 4)
    with pytest.raises(AssertionError, match="still referred to"):
        gpu_parts.with_device(measurement._loaded, kept.append, **pools, copy="merged")
