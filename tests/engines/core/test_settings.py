from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engines.core.settings import PRESETS, RENAMED_PRESETS
from engines.embedded.settings import FastSwitchSettings
from engines.errors import EngineInputError


def settings(**fields: Any) -> FastSwitchSettings:
    return FastSwitchSettings(**{"kv_tokens": 1024, "swap_tokens": 4096, **fields})


def test_a_preset_names_every_mechanism_and_a_field_overrides_it() -> None:
    mechanisms = settings(preset="vllm-0.3", policy="fcfs", copy="merged").mechanisms()
    assert (mechanisms.policy.name, mechanisms.copy, mechanisms.reuse) == (
        "fcfs",
        "merged",
        "host_swap",
    )


def test_fastswitch_x_is_fastswitch_but_for_its_two_parts() -> None:
    mechanisms = settings(preset="fastswitch-x").mechanisms()
    assert (mechanisms.layout, mechanisms.admission) == ("cross_layer", "backfill")
    assert replace(mechanisms, layout="per_layer", admission="strict") == PRESETS["fastswitch"]


def test_a_renamed_preset_still_works_and_says_what_it_is_called_now() -> None:
    old, new = (settings(preset=name).resolve("m") for name in ("vllm-v1", "recompute-prefix"))
    assert old.core() == new.core()
    assert new.remarks() == []
    (remark,) = old.remarks()
    assert remark.startswith("preset vllm-v1 is called recompute-prefix now: ")
    assert not set(RENAMED_PRESETS) & set(PRESETS)  # so no list of choices offers it
    assert set(RENAMED_PRESETS.values()) <= set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_who_is_let_in_by_another_rule_than_the_baselines_says_so(preset: str) -> None:
    found = settings(preset=preset).remarks()
    assert len(found) == (preset == "fastswitch-x")
    assert all(
        remark.startswith("admission backfill: requests come in past one") for remark in found
    )


def test_no_shipped_workload_uses_a_preset_s_former_name() -> None:
    root = Path(__file__).parents[3]
    shipped = [*(root / "workloads").rglob("*.yaml"), *(root / "benchmarks").glob("*.yaml")]
    assert len(shipped) > 10
    for path in shipped:
        assert not [old for old in RENAMED_PRESETS if f"preset: {old}" in path.read_text()], path


def test_resolving_makes_a_new_object_that_names_everything() -> None:
    given = settings()
    resolved = given.resolve("tiny-llama")
    assert (given.model, given.swap) == (None, None)
    assert (resolved.model, resolved.swap, resolved.copy_mode) == (
        "tiny-llama",
        "adaptive",
        "merged",
    )
    again = FastSwitchSettings.model_validate(resolved.model_dump(by_alias=True))
    assert again == resolved


def test_the_engine_needs_a_model_from_somewhere() -> None:
    with pytest.raises(EngineInputError, match="no model is named"):
        settings().resolve(None)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kv_tokens": 1000}, "kv_tokens must be a multiple of block_size 16, got 1000; take 992"),
        ({"swap_tokens": 8}, "swap_tokens must be a multiple of block_size 16, got 8; take 16"),
        ({"num_copy_threads": 0}, "num_copy_threads must be > 0 with swap: adaptive"),
        ({"swap_tokens": 0}, "swap_tokens must be > 0 with preemption: swap, got 0"),
        ({"preset": "vllm-0.2"}, "preset 'vllm-0.2' is unknown; choose one of: vllm-0.3"),
        ({"max_num_seqs": 600}, "max_batch_tokens must be >= max_num_seqs 600"),
        ({"max_context_tokens": 2048}, "max_context_tokens must be <= kv_tokens 1024"),
        ({"allocator": "buddy"}, "Input should be 'paged', 'sorted' or 'block_group'"),
        ({"torch_device": "gpu"}, "should match pattern"),
        ({"copy": "kernel"}, "copy: kernel needs torch_device: cuda .* got cpu; take merged"),
        ({"kv_tokens": 1, "block_size": 1}, "greater than or equal to 2"),
        ({"kv_token": 5}, "Extra inputs are not permitted"),
    ],
)
def test_settings_that_can_not_work_are_refused_with_the_arithmetic(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**fields)


def test_no_swap_space_is_fine_where_nothing_swaps() -> None:
    assert settings(swap_tokens=0, preemption="recompute", reuse="none").core().num_host_blocks == 0
