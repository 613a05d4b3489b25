"""A Llama-family decoder in plain PyTorch over a paged KV cache.

It knows tokens, positions and where K and V live; nothing of requests or sampling. Weights are
plain tensors, with q, k, v and gate, up fused into one matrix each: fewer, larger products.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from engines.fastswitch.devices.attention import attend, write_kv
from engines.fastswitch.devices.attention_plan import AttentionPlan
from engines.fastswitch.devices.model_config import ModelConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWeights:
    """Matrices are [out, in]; how they lie in memory is the loader's choice."""

    attention_norm: Tensor  # [hidden]
    qkv: Tensor  # [(num_heads + 2 num_kv_heads) * head_dim, hidden]
    qkv_bias: Tensor | None
    q_norm: Tensor | None  # [head_dim]
    k_norm: Tensor | None  # [head_dim]
    output: Tensor  # [hidden, num_heads * head_dim]
    output_bias: Tensor | None
    mlp_norm: Tensor  # [hidden]
    gate_up: Tensor  # [2 intermediate, hidden]
    down: Tensor  # [hidden, intermediate]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderWeights:
    embedding: Tensor  # [vocab, hidden]
    layers: tuple[LayerWeights, ...]
    final_norm: Tensor  # [hidden]
    head: tuple[Tensor, ...]  # together [vocab, hidden]


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
        plan: AttentionPlan,
        caches: Sequence[tuple[Tensor, Tensor]],
        sample_rows: Tensor,
    ) -> Tensor:
        """token_ids, positions: [num_rows]; caches: K and V of each layer.

        Returns logits [len(sample_rows), vocab]: only the rows that sample go through the head.
        """
        rotation = self._rotation(positions)
        hidden = F.embedding(token_ids, self.weights.embedding)
        for layer, cache in zip(self.weights.layers, caches, strict=True):
            hidden = hidden + self._attention(layer, hidden, rotation, plan, cache)
            hidden = hidden + self._mlp(layer, hidden)
        hidden = self._norm(hidden.index_select(0, sample_rows), self.weights.final_norm)
        return torch.cat([F.linear(hidden, piece) for piece in self.weights.head], dim=-1)

    def _attention(
        self,
        layer: LayerWeights,
        hidden: Tensor,
        rotation: tuple[Tensor, Tensor],
        plan: AttentionPlan,
        cache: tuple[Tensor, Tensor],
    ) -> Tensor:
        config = self.config
        num_rows, num_heads = len(hidden), config.num_heads
        qkv = F.linear(self._norm(hidden, layer.attention_norm), layer.qkv, layer.qkv_bias)
        heads = qkv.view(num_rows, -1, config.head_dim)  # q heads, then k heads, then v heads
        queries, keys = heads[:, :num_heads], heads[:, num_heads : -config.num_kv_heads]
        values = heads[:, -config.num_kv_heads :]
        if layer.q_norm is not None and layer.k_norm is not None:
            queries, keys = self._norm(queries, layer.q_norm), self._norm(keys, layer.k_norm)
        queries, keys = rotate(queries, rotation), rotate(keys, rotation)
        write_kv(keys, values, cache, plan.slots)
        attended = attend(queries, keys, values, cache, plan)
        return F.linear(attended.flatten(1), layer.output, layer.output_bias)

    def _mlp(self, layer: LayerWeights, hidden: Tensor) -> Tensor:
        gate, up = F.linear(self._norm(hidden, layer.mlp_norm), layer.gate_up).chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, layer.down)

    def _norm(self, hidden: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(hidden, weight.shape, weight, self.config.rms_norm_eps)

    def _rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin, each [num_rows, 1, head_dim / 2]."""
        angles = (positions.float()[:, None] * self._frequencies)[:, None, :]
        return angles.cos().to(self.dtype), angles.sin().to(self.dtype)


def rotate(heads: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """RoPE: dimension i turns with dimension i + head_dim / 2. heads: [num_rows, n, head_dim]."""
    cos, sin = rotation
    first, second = heads.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)
