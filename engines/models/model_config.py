"""What a decoder looks like: sizes and switches of the Llama family. No torch, no weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError

from engines.errors import EngineInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelConfig:
    """A pre-norm decoder: RMSNorm, grouped-query attention with RoPE, SwiGLU."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    max_positions: int
    rms_norm_eps: float
    inverse_frequencies: tuple[float, ...]  # RoPE angle per position and pair; head_dim / 2 of them
    has_tied_head: bool = False  # the LM head is the embedding
    has_qkv_bias: bool = False
    has_output_bias: bool = False  # on the attention's output projection
    has_qk_norm: bool = False  # RMSNorm over each head of q and k, before RoPE
    eos_token_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.num_heads % self.num_kv_heads:
            raise ValueError(
                f"num_attention_heads ({self.num_heads}) must be a multiple of"
                f" num_key_value_heads ({self.num_kv_heads})"
            )
        if self.head_dim % 2 or len(self.inverse_frequencies) != self.head_dim // 2:
            raise ValueError(
                f"RoPE needs head_dim / 2 frequencies, got {len(self.inverse_frequencies)}"
                f" for head_dim {self.head_dim}"
            )


def rope_frequencies(theta: float, head_dim: int) -> tuple[float, ...]:
    """Returns theta^(-2i / head_dim), in float32 as the reference implementations compute it."""
    exponents = np.arange(0, head_dim, 2, dtype=np.float32) / np.float32(head_dim)
    frequencies = np.float32(1.0) / np.power(np.float32(theta), exponents)
    return tuple(float(frequency) for frequency in frequencies)


def llama3_frequencies(
    frequencies: Sequence[float],
    *,
    factor: float,
    low_freq_factor: float,
    high_freq_factor: float,
    original_max_positions: int,
) -> tuple[float, ...]:
    """Returns the frequencies as Llama 3.1 scales them: long waves stretched by `factor`, short
    ones kept, a ramp between."""
    scaled = []
    for frequency in frequencies:
        num_turns = original_max_positions * frequency / (2 * math.pi)  # over the trained context
        ramp = (num_turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
        kept = min(1.0, max(0.0, ramp))
        scaled.append(kept * frequency + (1.0 - kept) * frequency / factor)
    return tuple(scaled)


PRESETS: dict[str, ModelConfig] = {
    # 1.1 M parameters, nearly all of them the vocabulary's: a step takes a millisecond or two of
    # one core, so that half a machine keeps the pace of a modelled GPU (`pace:`).
    "nano-llama": ModelConfig(
        vocab_size=8192,
        hidden_size=64,
        intermediate_size=128,
        num_layers=1,
        num_heads=2,
        num_kv_heads=1,
        head_dim=16,
        max_positions=8192,
        rms_norm_eps=1e-5,
        inverse_frequencies=rope_frequencies(10_000.0, 16),
    ),
    # 28 M parameters: large enough that weights, not Python, make a step's time.
    "tiny-llama": ModelConfig(
        vocab_size=8192,
        hidden_size=512,
        intermediate_size=1152,
        num_layers=8,
        num_heads=8,
        num_kv_heads=2,
        head_dim=64,
        max_positions=8192,
        rms_norm_eps=1e-5,
        inverse_frequencies=rope_frequencies(10_000.0, 64),
    ),
    # The shape of Llama-3-8B (8.03 billion parameters, 128 KiB of KV a token in bfloat16).
    "llama-3-8b": ModelConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_layers=32,
        num_heads=32,
        num_kv_heads=8,
        head_dim=128,
        max_positions=8192,
        rms_norm_eps=1e-5,
        inverse_frequencies=rope_frequencies(500_000.0, 128),
    ),
}


class _Rope(BaseModel):
    model_config = ConfigDict(extra="allow")

    rope_type: str = "default"
    rope_theta: PositiveFloat = 10_000.0


class _Llama3Rope(_Rope):
    factor: PositiveFloat
    low_freq_factor: PositiveFloat
    high_freq_factor: PositiveFloat
    original_max_position_embeddings: PositiveInt


class _HuggingFaceConfig(BaseModel):
    """The keys of config.json that change what the decoder computes."""

    architectures: list[str]
    vocab_size: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_hidden_layers: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt | None = None
    head_dim: PositiveInt | None = None
    max_position_embeddings: PositiveInt
    rms_norm_eps: PositiveFloat = 1e-6
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    eos_token_id: int | list[int] | None = None
    # Supported in one setting only; anything else would be computed wrongly.
    hidden_act: Literal["silu"] = "silu"
    mlp_bias: Literal[False] = False
    use_sliding_window: Literal[False] = False
    partial_rotary_factor: Literal[1] = 1
    quantization_config: None = None


_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


def config_from_folder(folder: Path) -> ModelConfig:
    """Read `config.json` (and the end-of-sequence ids of `generation_config.json`)."""
    path = folder / "config.json"
    config = config_from_dict(_read_json(path), where=str(path))
    generation = folder / "generation_config.json"
    if not generation.is_file():
        return config
    extra = _eos_ids(_read_json(generation).get("eos_token_id"), config.vocab_size)
    eos_token_ids = tuple(dict.fromkeys((*config.eos_token_ids, *extra)))
    return replace(config, eos_token_ids=eos_token_ids)


def config_from_dict(raw: Mapping[str, Any], *, where: str) -> ModelConfig:
    """Returns the config that a Hugging Face config.json of this content describes. Raises
    EngineInputError."""
    try:
        given = _HuggingFaceConfig.model_validate(raw)
        architecture = _supported_architecture(given.architectures)
        return _build(given, architecture, raw)
    except ValidationError as error:
        raise EngineInputError(f"{where}: {_first_fault(error)}") from None
    except ValueError as error:
        raise EngineInputError(f"{where}: {error}") from None


def _build(given: _HuggingFaceConfig, architecture: str, raw: Mapping[str, Any]) -> ModelConfig:
    is_qwen2 = architecture == "Qwen2ForCausalLM"
    if architecture == "MistralForCausalLM" and raw.get("sliding_window") is not None:
        raise ValueError(f"sliding_window is not supported, got {raw['sliding_window']}")
    head_dim = given.head_dim or given.hidden_size // given.num_attention_heads
    return ModelConfig(
        vocab_size=given.vocab_size,
        hidden_size=given.hidden_size,
        intermediate_size=given.intermediate_size,
        num_layers=given.num_hidden_layers,
        num_heads=given.num_attention_heads,
        num_kv_heads=given.num_key_value_heads or given.num_attention_heads,
        head_dim=head_dim,
        max_positions=given.max_position_embeddings,
        rms_norm_eps=given.rms_norm_eps,
        inverse_frequencies=_frequencies(raw, head_dim),
        has_tied_head=given.tie_word_embeddings,
        has_qkv_bias=is_qwen2 or given.attention_bias,
        has_output_bias=given.attention_bias and not is_qwen2,
        has_qk_norm=architecture == "Qwen3ForCausalLM",
        eos_token_ids=_eos_ids(given.eos_token_id, given.vocab_size),
    )


def _supported_architecture(names: Sequence[str]) -> str:
    for name in names:
        if name in _ARCHITECTURES:
            return name
    got = ", ".join(names) or "none"
    raise ValueError(f"architecture {got} is not supported; use one of {', '.join(_ARCHITECTURES)}")


def _frequencies(raw: Mapping[str, Any], head_dim: int) -> tuple[float, ...]:
    """Returns the rotary frequencies: transformers 5 writes `rope_parameters`; before, it wrote
    `rope_theta` and `rope_scaling`."""
    rope: dict[str, Any] = {"rope_theta": raw.get("rope_theta", 10_000.0)}
    rope |= raw.get("rope_scaling") or {}
    rope |= raw.get("rope_parameters") or {}
    rope.setdefault("rope_type", rope.get("type", "default"))
    base = rope_frequencies(_Rope.model_validate(rope).rope_theta, head_dim)
    if rope["rope_type"] == "default":
        return base
    if rope["rope_type"] != "llama3":
        raise ValueError(
            f"rope_type {rope['rope_type']!r} is not supported; use one of default, llama3"
        )
    scaling = _Llama3Rope.model_validate(rope)
    return llama3_frequencies(
        base,
        factor=scaling.factor,
        low_freq_factor=scaling.low_freq_factor,
        high_freq_factor=scaling.high_freq_factor,
        original_max_positions=scaling.original_max_position_embeddings,
    )


def _eos_ids(value: int | list[int] | None, vocab_size: int) -> tuple[int, ...]:
    """Returns the ids that the model can say: some converters write -1, or an id of the vocabulary
    before."""
    ids = value if isinstance(value, list) else [value]
    return tuple(one for one in ids if one is not None and 0 <= one < vocab_size)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise EngineInputError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise EngineInputError(f"{path}: is not JSON ({error})") from None
    if not isinstance(content, dict):
        raise EngineInputError(f"{path}: must hold a JSON object, got {type(content).__name__}")
    return content


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{key} is missing"
    return f"{key}: {fault['msg'].lower()}, got {fault['input']!r}"
