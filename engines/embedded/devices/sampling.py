"""From logits to tokens. A draw depends on (seed, output index, logits) and nothing else, so a
request's text is the same whatever shared its batch, and however often it was preempted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from engines.core.sampling_params import SamplingParams


@torch.inference_mode()  # the decoder's logits may be changed in place only there
def sample(
    logits: Tensor, params: Sequence[SamplingParams], output_indices: Sequence[int]
) -> list[int]:
    """Returns a token id for each row; logits: [num_rows, vocab], changed in place where
    end-of-sequence tokens are masked."""
    for row, (param, output_index) in enumerate(zip(params, output_indices, strict=True)):
        if output_index < param.min_tokens and param.eos_token_ids:
            logits[row, sorted(param.eos_token_ids)] = -torch.inf
    tokens = _largest(logits)
    for row, (param, output_index) in enumerate(zip(params, output_indices, strict=True)):
        if param.temperature > 0:
            tokens[row] = draw(logits[row], param, uniform(param.seed, output_index))
    return tokens


def is_largest(param: SamplingParams, output_index: int) -> bool:
    """Whether the token is that of the largest logit, whatever the logits are."""
    is_masked = output_index < param.min_tokens and bool(param.eos_token_ids)
    return param.temperature <= 0 and not is_masked


def _largest(logits: Tensor) -> list[int]:
    """Returns each row's largest, of equals the first one."""
    is_of_numpy = logits.device.type == "cpu" and logits.dtype in (torch.float32, torch.float64)
    # On a CPU numpy finds it 15 times as fast, which for 32 rows is 1 % of a step.
    largest = logits.numpy().argmax(axis=-1) if is_of_numpy else logits.argmax(dim=-1)
    tokens: list[int] = largest.tolist()
    return tokens


def draw(logits: Tensor, param: SamplingParams, point: float) -> int:
    """Inverts the cumulative distribution at `point` in [0, 1).

    Temperature, then top-k, then top-p of what top-k left (the smallest set that reaches it).
    """
    scaled = logits.double()
    # Relative to the largest, which stays 0: no temperature, however small, makes inf - inf.
    scaled = (scaled - scaled.max()) / param.temperature
    order: Tensor | None = None
    if 0 < param.top_k < len(scaled):
        scaled, order = scaled.topk(param.top_k)
    elif param.top_p < 1.0:
        scaled, order = scaled.sort(descending=True, stable=True)
    cumulative = scaled.softmax(dim=-1).cumsum(dim=-1)
    if param.top_p < 1.0:
        num_kept = int(torch.searchsorted(cumulative, param.top_p)) + 1
        cumulative = cumulative[:num_kept]
    target = point * cumulative[-1]
    index = int(torch.searchsorted(cumulative, target, right=True))
    index = min(index, len(cumulative) - 1)  # rounding may leave target = the last sum
    return index if order is None else int(order[index])


def uniform(seed: int, output_index: int) -> float:
    """Returns a number in [0, 1) with 53 random bits, the same on every machine."""
    digest = hashlib.blake2b(f"{seed}:{output_index}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "little") >> 11) * 2.0**-53
