"""A GGUF file: metadata and (quantised) tensors, under the names and layout of Hugging Face.

The header is read here because the `gguf` package takes seconds for a vocabulary of 50,000;
the quantisation formats are that package's.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

from engines.embedded.devices.weights import Shape
from engines.errors import EngineInputError
from engines.models.model_config import ModelConfig, rope_frequencies

_SCALARS = {
    gguf.GGUFValueType.UINT8: "B",
    gguf.GGUFValueType.INT8: "b",
    gguf.GGUFValueType.UINT16: "H",
    gguf.GGUFValueType.INT16: "h",
    gguf.GGUFValueType.UINT32: "I",
    gguf.GGUFValueType.INT32: "i",
    gguf.GGUFValueType.FLOAT32: "f",
    gguf.GGUFValueType.BOOL: "?",
    gguf.GGUFValueType.UINT64: "Q",
    gguf.GGUFValueType.INT64: "q",
    gguf.GGUFValueType.FLOAT64: "d",
}
_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "output": "lm_head",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_ARCHITECTURES = ("llama", "qwen2", "qwen3")
_ROPE_FACTORS = "rope_freqs.weight"  # each frequency's divisor (Llama 3's scaling)


@dataclass(frozen=True, slots=True, kw_only=True)
class _StoredTensor:
    shape: Shape  # row-major: the file's dimensions reversed
    quantisation: gguf.GGMLQuantizationType
    offset: int  # bytes from the file's start


class GgufFile:
    """Implements `TensorSource`; the data is mapped and dequantised when it is asked for."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        try:
            self._data = np.memmap(path, mode="r", dtype=np.uint8)
            self.metadata, self._tensors = _HeaderReader(self._data.data).read()
        except OSError as error:
            raise EngineInputError(f"{path}: cannot be read ({error.strerror})") from None
        except (ValueError, struct.error) as error:
            raise EngineInputError(f"{path}: is not a whole GGUF file ({error})") from None
        self._stored_name = {
            _hugging_face_name(name): name for name in self._tensors if name != _ROPE_FACTORS
        }

    @property
    def architecture(self) -> str:
        return str(self.metadata.get("general.architecture"))

    def shapes(self) -> Mapping[str, Shape]:
        return {name: self._tensors[stored].shape for name, stored in self._stored_name.items()}

    def load(self, name: str) -> Tensor:
        tensor = torch.from_numpy(self._dequantised(self._stored_name[name]))
        if self.architecture == "llama" and ".q_proj." in name:
            return _unpermuted(tensor, self._setting("attention.head_count"))
        if self.architecture == "llama" and ".k_proj." in name:
            return _unpermuted(tensor, self._num_kv_heads())
        return tensor

    def config(self) -> ModelConfig:
        """Raises EngineInputError."""
        if self.architecture not in _ARCHITECTURES:
            raise EngineInputError(
                f"{self.where}: architecture {self.architecture} is not supported;"
                f" use one of {', '.join(_ARCHITECTURES)}"
            )
        scaling = self.metadata.get(f"{self.architecture}.rope.scaling.type", "none")
        if scaling != "none":
            raise EngineInputError(f"{self.where}: RoPE scaling {scaling!r} is not supported")
        try:
            return self._build_config()
        except ValueError as error:
            raise EngineInputError(f"{self.where}: {error}") from None

    def _build_config(self) -> ModelConfig:
        num_heads = self._setting("attention.head_count")
        hidden_size = self._setting("embedding_length")
        head_dim = self._setting("attention.key_length", hidden_size // num_heads)
        shapes = self.shapes()
        return ModelConfig(
            vocab_size=shapes.get("model.embed_tokens.weight", (0,))[0],
            hidden_size=hidden_size,
            intermediate_size=self._setting("feed_forward_length"),
            num_layers=self._setting("block_count"),
            num_heads=num_heads,
            num_kv_heads=self._num_kv_heads(),
            head_dim=head_dim,
            max_positions=self._setting("context_length"),
            rms_norm_eps=self._setting("attention.layer_norm_rms_epsilon"),
            inverse_frequencies=self._frequencies(head_dim),
            has_tied_head="lm_head.weight" not in shapes,
            has_qkv_bias="model.layers.0.self_attn.q_proj.bias" in shapes,
            has_output_bias="model.layers.0.self_attn.o_proj.bias" in shapes,
            has_qk_norm="model.layers.0.self_attn.q_norm.weight" in shapes,
        )

    def _frequencies(self, head_dim: int) -> tuple[float, ...]:
        rotated = self._setting("rope.dimension_count", head_dim)
        if rotated != head_dim:
            raise ValueError(f"RoPE over {rotated} of {head_dim} dimensions is not supported")
        base = rope_frequencies(self._setting("rope.freq_base", 10_000.0), head_dim)
        if _ROPE_FACTORS not in self._tensors:
            return base
        factors = self._dequantised(_ROPE_FACTORS).tolist()
        return tuple(frequency / factor for frequency, factor in zip(base, factors, strict=True))

    def _num_kv_heads(self) -> Any:
        return self._setting("attention.head_count_kv", self._setting("attention.head_count"))

    def _setting(self, key: str, default: Any = None) -> Any:
        value = self.metadata.get(f"{self.architecture}.{key}", default)
        if value is None or isinstance(value, list):
            raise ValueError(f"{self.architecture}.{key} must be one number, got {value!r}")
        return value

    def _dequantised(self, stored_name: str) -> np.ndarray[Any, np.dtype[np.float32]]:
        tensor = self._tensors[stored_name]
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[tensor.quantisation]
        num_bytes = math.prod(tensor.shape) // per_block * block_bytes
        raw = self._data[tensor.offset : tensor.offset + num_bytes]
        if len(raw) != num_bytes:
            raise EngineInputError(f"{self.where}: ends within {stored_name}; fetch it again")
        if tensor.quantisation is gguf.GGMLQuantizationType.F32:
            return raw.view(np.float32).reshape(tensor.shape).copy()
        if tensor.quantisation is gguf.GGMLQuantizationType.F16:
            return raw.view(np.float16).reshape(tensor.shape).astype(np.float32)
        try:
            rows = raw.reshape(*tensor.shape[:-1], -1)
            return gguf.quants.dequantize(rows, tensor.quantisation)
        except NotImplementedError:
            raise EngineInputError(
                f"{self.where}: {stored_name} is stored as {tensor.quantisation.name}, which"
                " cannot be read; take a file quantised as Q4_K_M, Q8_0 or F16"
            ) from None


def _unpermuted(weight: Tensor, num_heads: int) -> Tensor:
    """Returns the rows of each head in Hugging Face's order: GGUF's llama turns neighbouring
    dimensions together (2i with 2i + 1), Hugging Face i with i + head_dim / 2."""
    pairs = weight.view(num_heads, -1, 2, *weight.shape[1:])
    return pairs.transpose(1, 2).reshape(weight.shape)


def _hugging_face_name(stored: str) -> str:
    match = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)\.(weight|bias)", stored)
    if match is None or match[2] not in _NAMES:
        return stored  # has no place in the model: refused by name when the weights are checked
    prefix = "" if match[1] is None else f"model.layers.{match[1]}."
    return f"{prefix}{_NAMES[match[2]]}.{match[3]}"


class _HeaderReader:
    """Little-endian GGUF 2 and 3. Raises ValueError or struct.error."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def read(self) -> tuple[dict[str, Any], dict[str, _StoredTensor]]:
        magic, version, num_tensors, num_values = self._unpack("4sIQQ")
        if magic != b"GGUF" or version not in (2, 3):
            raise ValueError(f"it starts with {magic!r}, version {version}")
        metadata = {self._string(): self._value(*self._unpack("I")) for _ in range(num_values)}
        infos = [self._tensor_info() for _ in range(num_tensors)]
        alignment = metadata.get("general.alignment", 32)
        start = -(-self._position // alignment) * alignment
        return metadata, {
            name: _StoredTensor(shape=shape, quantisation=kind, offset=start + offset)
            for name, shape, kind, offset in infos
        }

    def _tensor_info(self) -> tuple[str, Shape, gguf.GGMLQuantizationType, int]:
        name = self._string()
        (num_dims,) = self._unpack("I")
        dims = self._unpack(f"{num_dims}Q")
        kind, offset = self._unpack("IQ")
        return name, tuple(reversed(dims)), gguf.GGMLQuantizationType(kind), offset

    def _value(self, kind: int) -> Any:
        if kind == gguf.GGUFValueType.STRING:
            return self._string()
        if kind == gguf.GGUFValueType.ARRAY:
            element, length = self._unpack("IQ")
            if element in _SCALARS:
                return list(self._unpack(f"{length}{_SCALARS[element]}"))
            return [self._value(element) for _ in range(length)]
        return self._unpack(_SCALARS[gguf.GGUFValueType(kind)])[0]

    def _string(self) -> str:
        (length,) = self._unpack("Q")
        (raw,) = self._unpack(f"{length}s")
        return str(raw, "utf-8", "replace")

    def _unpack(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self._data, self._position)
        self._position += struct.calcsize("<" + layout)
        return values
