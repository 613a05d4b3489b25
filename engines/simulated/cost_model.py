"""How long a step takes: a roofline of its products, attention and overheads, from a profile.

    step        = layers · (products + elementwise + attention + 2 all-reduces) + head + own
    products    = (weight bytes / bytes_per_s + tokens · s) ⊕ FLOPs / flops_per_s
    elementwise = launches ⊕ bytes / bytes_per_s
    attention   = launch + decodes · s + KV bytes of decodes / bytes_per_s
                  + (FLOPs of chunks / flops_per_s ⊕ s · tokens of the longest chunk's context)
    head        = LM head, as products over the sampled tokens, + sampler
    own         = c0 + c1 · sequences                                the engine around the model

a ⊕ b = (a⁴ + b⁴)^¼, a smooth maximum: whichever resource is short decides, and near the ridge both
count. Beside prefill chunks decodes are dearer, as one kernel serves both. The products' `s` stands
for small tiles filled in part. Plain IEEE floats in a fixed order and square roots, which are
rounded correctly everywhere: a step costs the same to the bit on every machine.
"""

from __future__ import annotations

from math import sqrt

from engines.core.device import Batch
from engines.simulated.constants import BYTES_PER_VALUE, Profile


class CostModel:
    """Seconds of a step on one GPU, or on `tensor_parallel` of them that share every layer."""

    def __init__(self, profile: Profile) -> None:
        shape, step, num_ranks = profile.shape, profile.step, profile.tensor_parallel
        self._num_layers = shape.num_layers
        kv_size = shape.num_kv_heads * shape.head_dim
        query_size = shape.num_heads * shape.head_dim
        # --- products: parameters of a layer and of the head that one GPU holds
        layer_size = shape.hidden_size * (
            2 * query_size + 2 * kv_size + 3 * shape.intermediate_size
        )
        self._layer = _Products(profile, layer_size / num_ranks, step.gemm_token_s.value)
        self._head = _Products(profile, shape.hidden_size * shape.vocab_size / num_ranks, 0.0)
        # --- elementwise: two norms with the residual, rotary embedding, activation; values moved
        size = 8 * shape.hidden_size
        size += (2 * (query_size + kv_size) + 3 * shape.intermediate_size) // num_ranks
        self._elementwise_s = step.elementwise_s.value
        self._elementwise_token_s = size * BYTES_PER_VALUE / step.elementwise_bytes_per_s.value
        # --- attention
        kv_bytes = 2 * kv_size * BYTES_PER_VALUE / num_ranks  # of a token in one layer
        self._attention_s = step.attention_s.value
        self._decode_s = step.attention_sequence_s.value
        self._decode_token_s = kv_bytes / step.attention_bytes_per_s.value
        self._mixed_s = step.mixed_attention_sequence_s.value
        self._mixed_token_s = kv_bytes / step.mixed_attention_bytes_per_s.value
        self._pair_s = 4 * query_size / num_ranks / step.attention_flops_per_s.value
        self._chunk_token_s = step.attention_token_s.value
        # --- all-reduce: a ring sends 2 (n − 1) / n of the data over each link
        self._all_reduce_s = self._all_reduce_token_s = 0.0
        if num_ranks > 1:
            hidden_bytes = shape.hidden_size * BYTES_PER_VALUE
            num_bytes = 2 * (num_ranks - 1) / num_ranks * hidden_bytes
            self._all_reduce_s = 2 * step.all_reduce_s.value
            self._all_reduce_token_s = 2 * num_bytes / step.all_reduce_bytes_per_s.value
        # --- once a step
        self._own_s = step.step_overhead_s.value
        self._own_sequence_s = step.sequence_overhead_s.value
        self._sampler_s = step.sampler_s.value
        self._sampler_sequence_s = step.sampler_sequence_s.value

    def execute_s(self, batch: Batch) -> float:
        """Returns how long the whole step takes, its `overhead_s` included."""
        num_decodes = num_context_tokens = 0
        num_chunk_tokens = longest = num_sampled = 0
        num_pairs = 0.0
        for chunk in batch.chunks:
            if chunk.sampling is not None:
                num_sampled += 1
            num_new, start = len(chunk.token_ids), chunk.start
            if num_new == 1:
                num_decodes += 1
                num_context_tokens += start + 1
            else:
                num_chunk_tokens += num_new
                num_pairs += pairs(num_new, start)
                longest = max(longest, start + num_new)
        num_tokens = num_decodes + num_chunk_tokens
        layer_s = (
            self._layer.seconds(num_tokens)
            + self.elementwise_s(num_tokens)
            + self.attention_s(num_decodes, num_context_tokens, num_pairs, longest)
            + self._all_reduce_s
            + self._all_reduce_token_s * num_tokens
        )
        step_s = layer_s * self._num_layers + self.overhead_s(len(batch.chunks))
        return step_s + self.head_s(num_sampled) if num_sampled else step_s

    def products_s(self, num_tokens: int) -> float:
        """Returns how long the matrix products of one layer take."""
        return self._layer.seconds(num_tokens)

    def elementwise_s(self, num_tokens: int) -> float:
        """Returns how long the elementwise kernels of one layer take."""
        return _smooth_max(self._elementwise_s, self._elementwise_token_s * num_tokens)

    def attention_s(
        self, num_decodes: int, num_context_tokens: int, num_pairs: float, longest: int
    ) -> float:
        """Returns how long the attention of one layer takes. `num_context_tokens`: of all decodes;
        `num_pairs`: of all chunks, see `pairs`; `longest`: tokens that one of them attends to at
        most, itself included."""
        if not num_pairs:
            decodes_s = self._decode_s * num_decodes + self._decode_token_s * num_context_tokens
            return self._attention_s + decodes_s
        decodes_s = self._mixed_s * num_decodes + self._mixed_token_s * num_context_tokens
        chunks_s = _smooth_max(self._pair_s * num_pairs, self._chunk_token_s * longest)
        return self._attention_s + decodes_s + chunks_s

    def head_s(self, num_sampled: int) -> float:
        """Returns how long LM head and sampler take, once a step."""
        sampler_s = self._sampler_s + self._sampler_sequence_s * num_sampled
        return self._head.seconds(num_sampled) + sampler_s

    def overhead_s(self, num_sequences: int) -> float:
        """Returns the engine's own part of a step, in which the GPU has nothing to do."""
        return self._own_s + self._own_sequence_s * num_sequences


def pairs(num_new_tokens: int, start: int) -> float:
    """Returns how many pairs there are of a query and a key that it may see, in a chunk that begins
    at position `start`."""
    return num_new_tokens * (start + 0.5 * (num_new_tokens + 1))


class _Products:
    """Matrix products of n tokens with `num_parameters` weights."""

    def __init__(self, profile: Profile, num_parameters: float, token_s: float) -> None:
        step = profile.step
        self._bytes_s = num_parameters * BYTES_PER_VALUE / step.gemm_bytes_per_s.value
        self._token_s = token_s
        self._flops_s = 2 * num_parameters / step.gemm_flops_per_s.value

    def seconds(self, num_tokens: int) -> float:
        memory_s = self._bytes_s + self._token_s * num_tokens
        return _smooth_max(memory_s, self._flops_s * num_tokens)


def _smooth_max(a: float, b: float) -> float:
    return sqrt(sqrt(a * a * a * a + b * b * b * b))
