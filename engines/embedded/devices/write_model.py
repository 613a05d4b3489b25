"""Writes a preset as the Hugging Face folder that other engines load: the same seeded weights.

`python -m engines.embedded.devices.write_model FOLDER --preset NAME --seed N` in a process of its
own, since it imports torch; `engines.models.model_folder` starts it.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from engines.embedded.devices.safetensors_folder import SINGLE_FILE
from engines.embedded.devices.weights import RandomTensors
from engines.models.model_config import (
    PRESETS,
    ModelConfig,
    config_from_dict,
    rope_frequencies,
)
from engines.serving.chat_template import CHATML
from engines.serving.tokenizer_sources import synthetic_tokenizer


def write_model(folder: Path, config: ModelConfig, *, seed: int) -> None:
    """Writes config.json, model.safetensors (float32), tokenizer and chat template. Replaces files
    of these names; the same config and seed give the same bytes."""
    tokenizer = synthetic_tokenizer(config.vocab_size)
    (eos_token_id,) = tokenizer.eos_token_ids
    described = hugging_face_config(config, eos_token_id=eos_token_id)
    tensors = RandomTensors(config, seed)
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: tensors.load(name) for name in tensors.shapes()}
    save_file(weights, folder / SINGLE_FILE, metadata={"format": "pt"})
    tokenizer.backend.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(CHATML)
    _write_json(folder / "config.json", described)
    _write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": "<|endoftext|>",
            "eos_token": "<|im_end|>",
            "model_max_length": config.max_positions,
            "clean_up_tokenization_spaces": False,
        },
    )


def hugging_face_config(config: ModelConfig, *, eos_token_id: int) -> dict[str, Any]:
    """Returns what config.json says of the model. Raises ValueError for what Llama's config can not
    say."""
    described = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "torch_dtype": "float32",
        "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size,
        "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads,
        "num_key_value_heads": config.num_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_positions,
        "rms_norm_eps": config.rms_norm_eps,
        "rope_theta": _rope_theta(config),
        "tie_word_embeddings": config.has_tied_head,
        "attention_bias": config.has_qkv_bias,
        "hidden_act": "silu",
        "bos_token_id": 0,
        "eos_token_id": eos_token_id,
    }
    read_back = config_from_dict(described, where="config.json")
    if replace(read_back, eos_token_ids=config.eos_token_ids) != config:
        raise ValueError("a Llama config.json can not describe this model")
    return described


def _rope_theta(config: ModelConfig) -> float:
    """Returns the base that gave the frequencies: θ^(-2/d) is the second of them."""
    estimate = config.inverse_frequencies[1] ** (-config.head_dim / 2)
    theta = float(round(estimate))
    if rope_frequencies(theta, config.head_dim) != config.inverse_frequencies:
        raise ValueError(f"its RoPE frequencies are not those of one base (nearest: {estimate})")
    return theta


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m engines.embedded.devices.write_model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--seed", type=int, required=True)
    given = parser.parse_args()
    write_model(given.folder, PRESETS[given.preset], seed=given.seed)


if __name__ == "__main__":
    main()
