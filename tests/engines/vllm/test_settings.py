"""What a workload file may say of a real vLLM, and how it is refused."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engines.errors import EngineInputError
from engines.vllm.command import _given_flags
from engines.vllm.settings import VllmSettings


def settings(**changes: Any) -> VllmSettings:
    return VllmSettings.model_validate({"kind": "vllm", "kv_tokens": 1024, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kv_tokens": 1000}, "kv_tokens must be a multiple of block_size 32, got 1000; take 992"),
        ({"max_context_tokens": 2048}, "max_context_tokens must be <= kv_tokens 1024"),
        ({"args": {"--max_num_seqs": 4}}, "args: --max_num_seqs is set by max_num_seqs"),
        ({"args": {"no-enable-prefix-caching": True}}, "is set by prefix_caching"),
        ({"policy": "lifo"}, "Input tag 'lifo' found using 'name' does not match"),
        (
            {"policy": "slo", "scheduling": "trace"},
            "scheduling must be left out with policy, which the plug-in schedules by, got 'trace'",
        ),
        ({"args": {"scheduler-cls": "x"}, "policy": "slo"}, "is set by scheduling or policy"),
        ({"scheduling": "lifo"}, "Input should be 'fcfs', 'priority' or 'trace'"),
    ],
)
def test_what_can_not_work_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(**changes)
    assert message in str(caught.value)


def test_a_plan_that_does_not_fit_is_refused_before_anything_starts() -> None:
    with pytest.raises(EngineInputError, match="kv_tokens must be >= 1025"):
        settings().check_longest(1025)
    settings().check_longest(1024)


def test_the_model_must_be_named_somewhere() -> None:
    with pytest.raises(EngineInputError, match="no model is named"):
        settings().resolve(None)
    assert settings(model="mine").resolve("theirs").model == "mine"


def test_the_variant_is_told_in_words() -> None:
    assert settings(scheduling="trace", kv_offload_gib=2.0).variant == (
        "fsbench's scheduler plug-in, priority trace, preemption by recompute, prefix caching on, "
        "KV offloading 2 GiB, float32"
    )


def test_the_variant_names_the_policy() -> None:
    assert settings(policy="slo").variant == (
        "fsbench's scheduler plug-in, policy slo, preemption by recompute, prefix caching on, "
        "float32"
    )


def test_further_flags_are_passed_on() -> None:
    given = {
        "enforce_eager": True,
        "async-scheduling": False,
        "seed": 3,
        "x": [1, 2],
        "c": {"a": 1},
    }
    assert list(_given_flags(given)) == [
        "--enforce-eager",
        "--no-async-scheduling",
        *("--seed", "3"),
        *("--x", "1", "2"),
        *("--c", '{"a": 1}'),
    ]
