"""Constants of a profile from the step log of a real run, on the machine at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from engines.errors import EngineInputError
from engines.simulated.constants import Profile
from engines.simulated.cost_model import CostModel, pairs
from engines.simulated.fit import NUM_DIGITS, Floats, with_fitted

# What a log of whole steps can tell apart; all else stays the base profile's.
CONSTANTS = (
    "gemm_bytes_per_s",
    "gemm_flops_per_s",
    "attention_bytes_per_s",
    "step_overhead_s",
    "sequence_overhead_s",
)
MIN_STEPS = 100
OUTLIER = 0.1  # a relative error from which on a step counts less
SMALLEST_OVERHEAD_S = 1e-9  # searched for on a logarithmic scale
FACTOR = 1e4  # a rate is looked for within this much of the base profile's


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Columns of a step log; each of shape [num_steps]. Seconds and tokens."""

    duration_s: Floats  # the model and the engine's own part, without waits for transfers
    num_decodes: npt.NDArray[np.int64]
    num_prefill_tokens: npt.NDArray[np.int64]
    num_context_tokens: npt.NDArray[np.int64]  # with KV in the device pool


def steps_of_log(columns: Mapping[str, npt.NDArray[Any]], block_size: int) -> Steps:
    """Returns the steps that a step log's columns tell of; a block has `block_size` tokens."""
    return Steps(
        duration_s=columns["execute_s"] + columns["bookkeeping_s"],
        num_decodes=columns["num_decode_tokens"].astype(np.int64),
        num_prefill_tokens=columns["num_prefill_tokens"].astype(np.int64),
        num_context_tokens=columns["num_used_device_blocks"].astype(np.int64) * block_size,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFit:
    profile: Profile
    num_steps: int
    median_error_ratio: float
    p95_error_ratio: float


def fit_steps(steps: Steps, base: Profile, *, source: str) -> StepFit:
    """Returns a profile fitted by robust least squares of relative errors. A step's prefill counts
    as one chunk from position 0, and what decodes attend to as the whole pool's use. Raises
    EngineInputError."""
    num_steps = len(steps.duration_s)
    if num_steps < MIN_STEPS:
        raise EngineInputError(
            f"{source}: {num_steps} steps are too few to fit to; run for {MIN_STEPS} at least"
        )

    def errors(logarithms: Floats) -> Floats:
        trial = with_fitted(base, CONSTANTS, np.exp(logarithms), source=source)
        return np.asarray(np.log(modelled_s(trial, steps) / steps.duration_s))

    start = np.log(
        [max(getattr(base.step, name).value, 1e2 * SMALLEST_OVERHEAD_S) for name in CONSTANTS]
    )
    reach = np.log(FACTOR)
    bounds = start - reach, start + 2 * reach
    # From far off, a robust search would take all steps for outliers.
    near = least_squares(errors, start, bounds=bounds)
    found = least_squares(errors, near.x, loss="soft_l1", f_scale=OUTLIER, bounds=bounds)
    profile = with_fitted(base, CONSTANTS, np.exp(found.x), source=source, num_digits=NUM_DIGITS)
    off = np.abs(modelled_s(profile, steps) / steps.duration_s - 1)
    return StepFit(
        profile=profile,
        num_steps=num_steps,
        median_error_ratio=float(np.median(off)),
        p95_error_ratio=float(np.quantile(off, 0.95)),
    )


def modelled_s(profile: Profile, steps: Steps) -> Floats:
    cost = CostModel(profile)
    num_layers = profile.shape.num_layers
    columns = zip(
        steps.num_decodes.tolist(),
        steps.num_prefill_tokens.tolist(),
        steps.num_context_tokens.tolist(),
        strict=True,
    )
    return np.array([_step_s(cost, num_layers, *row) for row in columns])


def _step_s(
    cost: CostModel, num_layers: int, num_decodes: int, num_prefill: int, num_context: int
) -> float:
    num_tokens = num_decodes + num_prefill
    attended = max(num_context - num_prefill, 0) if num_decodes else 0
    num_pairs = pairs(num_prefill, 0) if num_prefill else 0.0
    layer_s = (
        cost.products_s(num_tokens)
        + cost.elementwise_s(num_tokens)
        + cost.attention_s(num_decodes, attended, num_pairs, num_prefill)
    )
    num_sequences = num_decodes + (1 if num_prefill else 0)
    return num_layers * layer_s + cost.head_s(num_sequences) + cost.overhead_s(num_sequences)
