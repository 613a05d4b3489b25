"""Shapes of large models, for cost models alone: sizes as published, no weights."""

from __future__ import annotations

from pathlib import Path

from engines.errors import EngineInputError
from engines.models.model_config import (
    PRESETS,
    ModelConfig,
    config_from_folder,
    rope_frequencies,
)


def _shape(
    *,
    vocab_size: int,
    hidden_size: int,
    intermediate_size: int,
    num_layers: int,
    num_heads: int,
    num_kv_heads: int = 8,
    head_dim: int = 128,
    max_positions: int,
) -> ModelConfig:
    return ModelConfig(
        vocab_size=vocab_size,
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_layers=num_layers,
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        max_positions=max_positions,
        rms_norm_eps=1e-5,
        inverse_frequencies=rope_frequencies(500_000.0, head_dim),  # costs the same, whatever it is
    )


_LLAMA_3_8B = _shape(
    vocab_size=128_256,
    hidden_size=4096,
    intermediate_size=14_336,
    num_layers=32,
    num_heads=32,
    max_positions=131_072,
)
MODEL_SHAPES: dict[str, ModelConfig] = {
    **PRESETS,
    "llama-3-8b": _LLAMA_3_8B,
    "llama-3.1-8b": _LLAMA_3_8B,
    "llama-3-70b": _shape(
        vocab_size=128_256,
        hidden_size=8192,
        intermediate_size=28_672,
        num_layers=80,
        num_heads=64,
        max_positions=131_072,
    ),
    # Qwen1.5-32B
    "qwen-32b": _shape(
        vocab_size=152_064,
        hidden_size=5120,
        intermediate_size=27_392,
        num_layers=64,
        num_heads=40,
        max_positions=32_768,
    ),
    "qwen3-32b": _shape(
        vocab_size=151_936,
        hidden_size=5120,
        intermediate_size=25_600,
        num_layers=64,
        num_heads=64,
        max_positions=40_960,
    ),
}


def model_shape(name_or_folder: str) -> ModelConfig:
    """Returns the shape of a name in MODEL_SHAPES, or of a folder with a Hugging Face config.json.
    Raises EngineInputError."""
    if name_or_folder in MODEL_SHAPES:
        return MODEL_SHAPES[name_or_folder]
    folder = Path(name_or_folder)
    if not folder.is_dir():
        raise EngineInputError(
            f"model {name_or_folder!r} is neither a known shape ({', '.join(MODEL_SHAPES)}) nor a "
            "folder with a config.json"
        )
    return config_from_folder(folder)
