from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from engines.core.settings import PRESETS, FastSwitchSettings
from engines.errors import EngineInputError


def settings(**fields: Any) -> FastSwitchSettings:
    return FastSwitchSettings(**{"kv_tokens": 1024, "swap_tokens": 4096, **fields})


def test_a_preset_names_every_mechanism_and_a_field_overrides_it() -> None:
    mechanisms = settings(preset="vllm-0.3", policy="fcfs", copy="merged").mechanisms()
    assert (mechanisms.policy, mechanisms.copy, mechanisms.reuse) == ("fcfs", "merged", "host_swap")


def test_fastswitch_x_is_fastswitch_but_for_its_two_parts() -> None:
    mechanisms = settings(preset="fastswitch-x").mechanisms()
    assert (mechanisms.layout, mechanisms.admission) == ("cross_layer", "backfill")
    assert replace(mechanisms, layout="per_layer", admission="strict") == PRESETS["fastswitch"]


def test_resolving_makes_a_new_object_that_names_everything() -> None:
    given = settings()
    resolved = given.resolved("tiny-llama")
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
        settings().resolved(None)


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
