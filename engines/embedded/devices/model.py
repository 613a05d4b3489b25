"""A Llama-family decoder in plain PyTorch over a paged KV cache.

It knows tokens, positions and where K and V live; nothing of requests or sampling. q, k, v and
gate, up are fused into one matrix each, and what can be done in place is: fewer, larger operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.embedded.devices.attention import Attention, LayerKv, write_kv
from engines.embedded.devices.matrix import Matrix
from engines.models.model_config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Matrices are [out, in]."""

    attention_norm: Tensor  # [hidden]
    qkv: Matrix  # [(num_heads + 2 num_kv_heads) * head_dim, hidden]
    qkv_bias: Tensor | None
    qk_norm: Tensor | None  # [num_heads + num_kv_heads, head_dim]
    output: Matrix  # [hidden, num_heads * head_dim]
    output_bias: Tensor | None
    mlp_norm: Tensor  # [hidden]
    gate_up: Matrix  # [2 intermediate, hidden]
    down: Matrix  # [hidden, intermediate]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderWeights:
    embedding: Tensor  # [vocab, hidden]
    layers: tuple[LayerWeights, ...]
    final_norm: Tensor  # [hidden]
    head: Matrix  # [vocab, hidden]


class Decoder:
    def __init__(self, config: ModelConfig, weights: DecoderWeights) -> None:
        self.config = config
        self.weights = weights
        self.dtype = weights.embedding.dtype
        self.device = weights.embedding.device
        # Angles need float32 even for a bfloat16 model: position × frequency reaches thousands.
        self._frequencies = torch.tensor(
            config.inverse_frequencies, dtype=torch.float32, device=self.device
        )

    @torch.inference_mode()
    def forward(
        self,
        token_ids: Tensor,
        positions: Tensor,
        attention: Attention,
        kv: Tensor,
        sample_rows: Tensor | None,
    ) -> Tensor:
        """Returns logits [len(sample_rows), vocab]: only the rows that sample go through the head,
        all where `sample_rows` is None.

        token_ids, positions: [num_rows], in the attention's order; kv: `KvPool.by_layer`.
        """
        rotation = self._rotation(positions)
        hidden = F.embedding(token_ids, self.weights.embedding)
        for layer, layer_kv in zip(self.weights.layers, attention.layers(kv), strict=True):
            hidden += self._attention(layer, hidden, rotation, attention, layer_kv)
            hidden += self._mlp(layer, hidden)
        if sample_rows is not None:
            hidden = hidden.index_select(0, sample_rows)
        return self.weights.head(self._norm(hidden, self.weights.final_norm))

    def _attention(
        self,
        layer: LayerWeights,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        attention: Attention,
        kv: LayerKv,
    ) -> Tensor:
        config = self.config
        num_heads, num_kv_heads = config.num_heads, config.num_kv_heads
        qkv = layer.qkv(self._norm(hidden, layer.attention_norm), layer.qkv_bias)
        heads = qkv.view(len(hidden), -1, config.head_dim)  # q heads, then k heads, then v heads
        queries, keys, values = torch.split(heads, [num_heads, num_kv_heads, num_kv_heads], dim=1)
        turning = heads[:, :-num_kv_heads]
        if layer.qk_norm is not None:
            normed = F.rms_norm(turning, turning.shape[-1:], eps=config.rms_norm_eps)
            torch.mul(normed, layer.qk_norm, out=turning)
        rotate_(turning, rotation)
        write_kv(heads[:, num_heads:], kv, attention.slots)
        attended = attention.attend(queries, keys, values, kv)
        return layer.output(attended.flatten(1), layer.output_bias)

    def _mlp(self, layer: LayerWeights, hidden: Tensor) -> Tensor:
        gate, up = layer.gate_up(self._norm(hidden, layer.mlp_norm)).chunk(2, dim=-1)
        return layer.down(F.silu(gate).mul_(up))

    def _norm(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(hidden, weight.shape, weight, self.config.rms_norm_eps)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Returns cos, and sin with the sign it has for each half: each [num_rows, 1, head_dim]."""
        angles = (positions.float()[:, None] * self._frequencies)[:, None, :]
        cos, sin = angles.cos(), angles.sin()
        return (
            torch.cat((cos, cos), dim=-1).to(self.dtype),
            torch.cat((-sin, sin), dim=-1).to(self.dtype),
        )


def rotate_(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> None:
    """Applies RoPE in place: dimension i turns with dimension i + head_dim / 2.

    heads: [num_rows, n, head_dim].
    """
    cos, sin = rotation
    others = heads.roll(heads.shape[-1] // 2, dims=-1)
    heads.mul_(cos).addcmul_(others, sin)
