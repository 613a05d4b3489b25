from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engines.embedded.devices.weights import num_parameters
from engines.errors import EngineInputError
from engines.models.model_config import (
    PRESETS,
    ModelConfig,
    config_from_dict,
    config_from_folder,
    llama3_frequencies,
    rope_frequencies,
)

LLAMA: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
}
LLAMA3 = {
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def read(**changes: Any) -> ModelConfig:
    return config_from_dict(LLAMA | changes, where="config.json")


def test_sizes_are_read_and_head_dim_follows_from_them() -> None:
    config = read()
    assert (config.num_layers, config.num_heads, config.num_kv_heads) == (2, 4, 2)
    assert config.head_dim == 16
    assert not config.has_tied_head


def test_without_kv_heads_every_head_has_its_own() -> None:
    assert read(num_key_value_heads=None).num_kv_heads == 4


@pytest.mark.parametrize(
    ("architecture", "changes", "switches"),
    [
        ("LlamaForCausalLM", {}, (False, False, False)),
        ("LlamaForCausalLM", {"attention_bias": True}, (True, True, False)),
        ("MistralForCausalLM", {}, (False, False, False)),
        ("Qwen2ForCausalLM", {}, (True, False, False)),
        ("Qwen3ForCausalLM", {}, (False, False, True)),
    ],
)
def test_the_family_decides_bias_and_qk_norm(
    architecture: str, changes: dict[str, Any], switches: tuple[bool, bool, bool]
) -> None:
    config = read(architectures=[architecture], **changes)
    assert (config.has_qkv_bias, config.has_output_bias, config.has_qk_norm) == switches


@pytest.mark.parametrize(
    "changes",
    [
        {"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", **LLAMA3}},
        {"rope_theta": 5e5, "rope_scaling": {"type": "llama3", **LLAMA3}},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, **LLAMA3}},
    ],
)
def test_all_spellings_of_rope_scaling_mean_the_same(changes: dict[str, Any]) -> None:
    expected = llama3_frequencies(
        rope_frequencies(5e5, 16),
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_positions=32,
    )
    assert read(**changes).inverse_frequencies == expected


def test_llama3_keeps_short_waves_and_stretches_long_ones() -> None:
    base = rope_frequencies(10_000.0, 64)
    scaled = llama3_frequencies(
        base, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_positions=1024
    )
    assert scaled[0] == base[0] == 1.0
    assert scaled[-1] == base[-1] / 8.0
    assert all(low / 8.0 <= new <= low for low, new in zip(base, scaled, strict=True))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "architecture GPT2LMHeadModel is not supported"),
        ({"architectures": []}, "architecture none is not supported"),
        ({"hidden_size": "wide"}, "hidden_size: .*got 'wide'"),
        ({"num_hidden_layers": 0}, "num_hidden_layers: .*greater than 0, got 0"),
        ({"hidden_act": "gelu"}, "hidden_act: .*'silu', got 'gelu'"),
        ({"mlp_bias": True}, "mlp_bias: .*got True"),
        ({"use_sliding_window": True}, "use_sliding_window: .*got True"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor: .*got 0.5"),
        ({"quantization_config": {"bits": 4}}, "quantization_config: .*got {'bits': 4}"),
        ({"rope_scaling": {"rope_type": "yarn"}}, "rope_type 'yarn' is not supported; use one of"),
        ({"rope_scaling": {"rope_type": "llama3"}}, "factor is missing"),
        ({"num_key_value_heads": 3}, r"num_attention_heads \(4\) must be a multiple of"),
        (
            {"architectures": ["MistralForCausalLM"], "sliding_window": 4096},
            "sliding_window is not supported, got 4096",
        ),
    ],
)
def test_what_would_be_computed_wrongly_is_refused_by_name(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(EngineInputError, match=message) as got:
        read(**changes)
    assert str(got.value).startswith("config.json: ")
    assert "\n" not in str(got.value)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(EngineInputError, match=r"^config.json: vocab_size is missing$"):
        config_from_dict(
            {key: LLAMA[key] for key in LLAMA if key != "vocab_size"}, where="config.json"
        )


def test_end_of_sequence_ids_are_joined_with_generation_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA | {"eos_token_id": 2}))
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 2]}))
    assert config_from_folder(tmp_path).eos_token_ids == (2, 7)


def test_end_of_sequence_ids_outside_of_the_vocabulary_are_none() -> None:
    raw = LLAMA | {"eos_token_id": [-1, 2, LLAMA["vocab_size"]]}
    assert config_from_dict(raw, where="config.json").eos_token_ids == (2,)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "is not JSON"), ("[]", "must hold a JSON object, got list")],
)
def test_an_unreadable_config_is_one_line(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(EngineInputError, match=rf"config\.json: {message}"):
        config_from_folder(tmp_path)


@pytest.mark.parametrize(("name", "num"), [("nano-llama", 1.1e6), ("tiny-llama", 28e6)])
def test_the_small_presets_are_as_large_as_they_say(name: str, num: float) -> None:
    assert num_parameters(PRESETS[name]) == pytest.approx(num, rel=0.02)
