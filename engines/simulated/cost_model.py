"""How long a step takes: a roofline of its products, attention and overheads, from a profile.

    step      = layers · (products + elementwise + attention + 2 all-reduces) + head + own
    products  = weights / bytes_per_s ⊕ FLOPs / flops_per_s          a ⊕ b = (a⁴ + b⁴)^¼
    elementwise = launches ⊕ bytes / bytes_per_s
    attention = launch + sequences · c + KV bytes of decodes / bytes_per_s
                + (FLOPs of chunks / flops_per_s ⊕ c · tokens of the longest chunk's context)
    head      = LM head as products over the sampled tokens, sampler
    own       = c0 + c1 · sequences                                  the engine around the model

⊕ is a smooth maximum: whichever resource is short decides, and near the ridge both count. Plain
IEEE floats in a fixed order, so that a step costs the same to the bit on every machine.
"""

from __future__ import annotations

from math import sqrt

from engines.fastswitch.device import Batch
from engines.simulated.profile import BYTES_PER_VALUE, Profile


class CostModel:
    """Seconds of a step on one GPU, or on `tensor_parallel` of them that share every layer."""

    def __init__(self, profile: Profile) -> None:
        shape, step, ranks = profile.shape, profile.step, profile.tensor_parallel
        self._num_layers = shape.num_layers
        kv_size = shape.num_kv_heads * shape.head_dim
        query_size = shape.num_heads * shape.head_dim
        # --- products: parameters of a layer and of the head that one GPU holds
        layer_parameters = (
            shape.hidden_size * (2 * query_size + 2 * kv_size + 3 * shape.intermediate_size) / ranks
        )
        head_parameters = shape.hidden_size * shape.vocab_size / ranks
        self._layer_bytes_s4 = (
            layer_parameters * BYTES_PER_VALUE / step.gemm_bytes_per_s.value
        ) ** 4
        self._layer_token_s = 2 * layer_parameters / step.gemm_flops_per_s.value
        self._head_bytes_s4 = (head_parameters * BYTES_PER_VALUE / step.gemm_bytes_per_s.value) ** 4
        self._head_sequence_s = 2 * head_parameters / step.gemm_flops_per_s.value
        # --- elementwise: norms read and write the hidden state, with the residual beside it
        elementwise_values = (
            8 * shape.hidden_size + (4 * query_size + 3 * shape.intermediate_size) / ranks
        )
        self._elementwise_s4 = step.elementwise_s.value**4
        self._elementwise_token_s = (
            elementwise_values * BYTES_PER_VALUE / step.elementwise_bytes_per_s.value
        )
        # --- attention
        kv_bytes_per_token = 2 * kv_size * BYTES_PER_VALUE / ranks  # of one layer
        self._attention_s = step.attention_s.value
        self._attention_sequence_s = step.attention_sequence_s.value
        self._context_s = kv_bytes_per_token / step.attention_bytes_per_s.value
        self._pair_s = 4 * query_size / ranks / step.attention_flops_per_s.value
        self._chunk_token_s = step.attention_token_s.value
        # --- all-reduce
        self._all_reduce_s = self._all_reduce_token_s = 0.0
        if ranks > 1:
            self._all_reduce_s = 2 * step.all_reduce_s.value
            share = 2 * (ranks - 1) / ranks  # of the data over each link, as a ring sends it
            hidden_bytes = shape.hidden_size * BYTES_PER_VALUE
            self._all_reduce_token_s = 2 * share * hidden_bytes / step.all_reduce_bytes_per_s.value
        # --- once a step
        self._own_s = step.step_overhead_s.value
        self._own_sequence_s = step.sequence_overhead_s.value
        self._sampler_s = step.sampler_s.value
        self._sampler_sequence_s = step.sampler_sequence_s.value

    def execute_s(self, batch: Batch) -> float:
        """Of the whole step, `overhead_s` included."""
        num_tokens = num_sampled = 0
        num_decode_tokens = 0  # of context
        num_pairs = longest = 0  # query · key pairs of chunks; tokens that one of them attends to
        for _, token_ids, start, _, sampling, _ in batch.chunks:
            num_new = len(token_ids)
            num_tokens += num_new
            if sampling is not None:
                num_sampled += 1
            if num_new == 1:
                num_decode_tokens += start + 1
            else:
                num_pairs += num_new * (2 * start + num_new + 1)
                longest = max(longest, start + num_new)
        num_sequences = len(batch.chunks)
        layer_s = (
            _root4(self._layer_bytes_s4 + (self._layer_token_s * num_tokens) ** 4)
            + _root4(self._elementwise_s4 + (self._elementwise_token_s * num_tokens) ** 4)
            + self._attention_s
            + self._attention_sequence_s * num_sequences
            + self._context_s * num_decode_tokens
            + self._all_reduce_s
            + self._all_reduce_token_s * num_tokens
        )
        if num_pairs:
            layer_s += _root4(
                (self._pair_s * num_pairs / 2) ** 4 + (self._chunk_token_s * longest) ** 4
            )
        step_s = layer_s * self._num_layers + self.overhead_s(num_sequences)
        if num_sampled:
            step_s += (
                _root4(self._head_bytes_s4 + (self._head_sequence_s * num_sampled) ** 4)
                + self._sampler_s
                + self._sampler_sequence_s * num_sampled
            )
        return step_s

    def overhead_s(self, num_sequences: int) -> float:
        """The engine's own part of a step, in which the GPU has nothing to do."""
        return self._own_s + self._own_sequence_s * num_sequences


def _root4(value: float) -> float:
    return sqrt(sqrt(value))  # correctly rounded everywhere, which pow is not
