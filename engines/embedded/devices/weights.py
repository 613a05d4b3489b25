"""From named tensors to a decoder's weights, whoever holds the tensors.

Three holders (safetensors, a GGUF file, a seeded random model) answer to the same names: those of
Hugging Face checkpoints. What is missing, misshapen or left over is refused here, for all three.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from engines.embedded.devices.matrix import Matrix
from engines.embedded.devices.model import DecoderWeights, LayerWeights
from engines.errors import EngineInputError
from engines.models.model_config import ModelConfig

Shape = tuple[int, ...]


class TensorSource(Protocol):
    where: str  # file or folder, for error messages

    def shapes(self) -> Mapping[str, Shape]: ...

    def load(self, name: str) -> Tensor: ...


class RandomTensors:
    """Weights of a model nobody trained; each tensor depends on the seed and its name alone.

    Scaled so that what it says depends on all it read: unit embeddings, matrices that keep the
    variance, and twice that for q and k, whose attention is then sharp. With a trained model's
    initial weights (0.02 throughout) attention is flat and greedy decoding gets stuck on one
    token, which would hide a wrong cache.
    """

    where = "random weights"

    def __init__(self, config: ModelConfig, seed: int, device: torch.device | None = None) -> None:
        """Draws tensors on `device`, the CPU by default; another kind gives other numbers."""
        self._shapes = dict(expected_shapes(config))
        self._seed = seed
        self._device = device or torch.device("cpu")

    def shapes(self) -> Mapping[str, Shape]:
        return self._shapes

    def load(self, name: str) -> Tensor:
        shape = self._shapes[name]
        if name.endswith("norm.weight"):
            return torch.ones(shape, device=self._device)
        digest = hashlib.blake2b(f"{self._seed}:{name}".encode(), digest_size=7).digest()
        generator = torch.Generator(self._device).manual_seed(int.from_bytes(digest, "little"))
        weights = torch.empty(shape, device=self._device)
        return weights.normal_(std=_random_std(name, shape), generator=generator)


def _random_std(name: str, shape: Shape) -> float:
    if name == "model.embed_tokens.weight":
        return 1.0
    is_query_or_key = ".q_proj." in name or ".k_proj." in name
    return (2.0 if is_query_or_key else 1.0) / math.sqrt(shape[-1])


def assemble(
    source: TensorSource, config: ModelConfig, *, dtype: torch.dtype, device: torch.device
) -> DecoderWeights:
    """Loads all that the config asks for, fused as the decoder wants it. Raises
    EngineInputError."""
    _check_shapes(source, config)

    def load(*names: str) -> Tensor:
        parts = [source.load(name).to(device=device, dtype=dtype) for name in names]
        return parts[0].contiguous() if len(parts) == 1 else torch.cat(parts)

    def load_matrix(*names: str) -> Matrix:
        return Matrix(load(*names))

    def load_qk_norm(attention: str) -> Tensor:
        query, key = load(f"{attention}.q_norm.weight"), load(f"{attention}.k_norm.weight")
        return torch.stack([query] * config.num_heads + [key] * config.num_kv_heads)

    def load_layer(index: int) -> LayerWeights:
        attention = f"model.layers.{index}.self_attn"
        mlp = f"model.layers.{index}.mlp"
        qkv = [f"{attention}.{part}_proj" for part in "qkv"]
        return LayerWeights(
            attention_norm=load(f"model.layers.{index}.input_layernorm.weight"),
            qkv=load_matrix(*(f"{name}.weight" for name in qkv)),
            qkv_bias=load(*(f"{name}.bias" for name in qkv)) if config.has_qkv_bias else None,
            qk_norm=load_qk_norm(attention) if config.has_qk_norm else None,
            output=load_matrix(f"{attention}.o_proj.weight"),
            output_bias=load(f"{attention}.o_proj.bias") if config.has_output_bias else None,
            mlp_norm=load(f"model.layers.{index}.post_attention_layernorm.weight"),
            gate_up=load_matrix(f"{mlp}.gate_proj.weight", f"{mlp}.up_proj.weight"),
            down=load_matrix(f"{mlp}.down_proj.weight"),
        )

    embedding = load("model.embed_tokens.weight")
    return DecoderWeights(
        embedding=embedding,
        layers=tuple(load_layer(index) for index in range(config.num_layers)),
        final_norm=load("model.norm.weight"),
        head=Matrix(embedding if config.has_tied_head else load("lm_head.weight")),
    )


def num_parameters(config: ModelConfig) -> int:
    return sum(math.prod(shape) for _, shape in expected_shapes(config))


def expected_shapes(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    """Returns the shape of every tensor that a checkpoint of this config must hold."""
    yield "model.embed_tokens.weight", (config.vocab_size, config.hidden_size)
    for index in range(config.num_layers):
        for name, shape in _layer_shapes(config):
            yield f"model.layers.{index}.{name}", shape
    yield "model.norm.weight", (config.hidden_size,)
    if not config.has_tied_head:
        yield "lm_head.weight", (config.vocab_size, config.hidden_size)


def _layer_shapes(config: ModelConfig) -> Iterator[tuple[str, Shape]]:
    hidden = config.hidden_size
    q_size = config.num_heads * config.head_dim
    kv_size = config.num_kv_heads * config.head_dim
    yield "input_layernorm.weight", (hidden,)
    for part, size in (("q", q_size), ("k", kv_size), ("v", kv_size)):
        yield f"self_attn.{part}_proj.weight", (size, hidden)
        if config.has_qkv_bias:
            yield f"self_attn.{part}_proj.bias", (size,)
    if config.has_qk_norm:
        yield "self_attn.q_norm.weight", (config.head_dim,)
        yield "self_attn.k_norm.weight", (config.head_dim,)
    yield "self_attn.o_proj.weight", (hidden, q_size)
    if config.has_output_bias:
        yield "self_attn.o_proj.bias", (hidden,)
    yield "post_attention_layernorm.weight", (hidden,)
    yield "mlp.gate_proj.weight", (config.intermediate_size, hidden)
    yield "mlp.up_proj.weight", (config.intermediate_size, hidden)
    yield "mlp.down_proj.weight", (hidden, config.intermediate_size)


def _check_shapes(source: TensorSource, config: ModelConfig) -> None:
    expected = dict(expected_shapes(config))
    given = source.shapes()
    if missing := [name for name in expected if name not in given]:
        raise EngineInputError(
            f"{source.where}: {len(missing)} of {len(expected)} tensors are missing, first"
            f" {missing[0]}; the file is incomplete or does not fit its config"
        )
    for name, shape in expected.items():
        if tuple(given[name]) != shape:
            raise EngineInputError(
                f"{source.where}: tensor {name} must have shape {list(shape)},"
                f" got {list(given[name])}; the config and the weights do not belong together"
            )
    if unused := [name for name in given if name not in expected and not _is_redundant(name)]:
        raise EngineInputError(
            f"{source.where}: {len(unused)} tensors have no place in the model, first {unused[0]};"
            " the config does not describe these weights"
        )


def _is_redundant(name: str) -> bool:
    """Returns whether a tensor may be left: old checkpoints store RoPE's frequencies; tied ones
    sometimes store the head twice."""
    return name == "lm_head.weight" or name.endswith("rotary_emb.inv_freq")
