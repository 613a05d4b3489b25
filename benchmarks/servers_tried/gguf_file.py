"""Writes a model folder of ours as a GGUF file for llama.cpp: weights, tokenizer, template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

NUM_CONTROL_TOKENS = 3  # the first ones of a preset's tokenizer
STORED_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(folder: Path, path: Path) -> None:
    """Writes the folder's model, a preset's as `fsbench model write` leaves it."""
    config = json.loads((folder / "config.json").read_text())
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, config)
    _add_tokenizer(writer, folder, config)
    for name, weight in load_file(folder / "model.safetensors").items():
        writer.add_tensor(_stored_name(name), _as_stored(name, weight, config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_shape(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_name("tiny-llama")
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: gguf.GGUFWriter, folder: Path, config: dict[str, Any]) -> None:
    model = json.loads((folder / "tokenizer.json").read_text())["model"]
    num_normal = len(model["vocab"]) - NUM_CONTROL_TOKENS
    types = [gguf.TokenType.CONTROL] * NUM_CONTROL_TOKENS + [gguf.TokenType.NORMAL] * num_normal
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(sorted(model["vocab"], key=model["vocab"].__getitem__))
    writer.add_token_types(types)
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((folder / "chat_template.jinja").read_text())


def _stored_name(name: str) -> str:
    stem = name.removesuffix(".weight")
    layer, _, rest = stem.removeprefix("model.layers.").partition(".")
    is_in_layer = stem.startswith("model.layers.")
    return (f"blk.{layer}.{STORED_NAMES[rest]}" if is_in_layer else STORED_NAMES[stem]) + ".weight"


def _as_stored(name: str, weight: np.ndarray, config: dict[str, Any]) -> np.ndarray:
    """Returns it as llama.cpp keeps it: RoPE's two halves of q and k row by row."""
    num_heads = {
        "q_proj": config["num_attention_heads"],
        "k_proj": config["num_key_value_heads"],
    }.get(name.split(".")[-2])
    if num_heads is None:
        return np.ascontiguousarray(weight)
    halves = weight.reshape(num_heads, 2, -1, weight.shape[-1])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(weight.shape))
