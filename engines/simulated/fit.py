"""Constants of a profile from measured kernel times: robust least squares of relative errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from engines.errors import EngineInputError
from engines.simulated.constants import Constant, Profile
from engines.simulated.cost_model import CostModel
from engines.simulated.kernel_tables import Kernel, read_kernel_table

Floats = npt.NDArray[np.float64]

# Which constants each part of the model says something of. Fitted in this order, those of a part
# with the earlier parts' in place.
CONSTANTS: dict[str, tuple[str, ...]] = {
    "products": ("gemm_bytes_per_s", "gemm_token_s", "gemm_flops_per_s"),
    "elementwise": ("elementwise_s", "elementwise_bytes_per_s"),
    "attention of decodes": ("attention_s", "attention_sequence_s", "attention_bytes_per_s"),
    "attention of chunks": ("attention_flops_per_s", "attention_token_s"),
    "attention of both": ("mixed_attention_sequence_s", "mixed_attention_bytes_per_s"),
    "head and sampler": ("sampler_s", "sampler_sequence_s"),
}
NUM_DIGITS = 4  # kept of a fitted constant; what follows depends on the machine that fits
OUTLIER = 0.05  # a relative error from which on a point counts less
FACTOR = 100.0  # a constant is looked for within this much of where the search begins
# Where the search begins: sizes of any recent GPU.
STARTS = {
    "gemm_bytes_per_s": 1e12,
    "gemm_token_s": 1e-6,
    "gemm_flops_per_s": 2e14,
    "elementwise_s": 1e-5,
    "elementwise_bytes_per_s": 1e12,
    "attention_s": 1e-5,
    "attention_sequence_s": 1e-7,
    "attention_bytes_per_s": 1e12,
    "mixed_attention_sequence_s": 1e-6,
    "mixed_attention_bytes_per_s": 5e11,
    "attention_flops_per_s": 1e14,
    "attention_token_s": 2e-8,
    "sampler_s": 2e-5,
    "sampler_sequence_s": 4e-7,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """How far a fitted part is from its table: |modelled / measured − 1| over the rows."""

    table: str
    part: str
    num_rows: int
    median_error_ratio: float
    p95_error_ratio: float
    mean_signed_error_ratio: float


def fit_profile(tables: Sequence[Path], base: Profile) -> tuple[Profile, list[Residual]]:
    """Returns `base` with the constants that the tables speak of fitted to them, the others as they
    are, and how far off each part still is. Raises EngineInputError."""
    kernels: dict[str, tuple[Path, Kernel]] = {}
    for path in tables:
        for kernel in read_kernel_table(path):
            if kernel.part in kernels:
                first = kernels[kernel.part][0]
                raise EngineInputError(f"{path}: {kernel.part} are in {first} already; give one")
            kernels[kernel.part] = path, kernel
    profile = base
    for part in (part for part in CONSTANTS if part in kernels):
        path, kernel = kernels[part]
        profile = _fitted(profile, kernel, source=_table_name(path))
    return profile, [_residual(profile, *kernels[part]) for part in CONSTANTS if part in kernels]


def _fitted(profile: Profile, kernel: Kernel, *, source: str) -> Profile:
    names = CONSTANTS[kernel.part]
    measured = np.array(kernel.measured_s)
    weights = np.sqrt(np.array(kernel.weights))

    def errors(logarithms: Floats) -> Floats:
        trial = with_fitted(profile, names, np.exp(logarithms), source=source)
        modelled = kernel.modelled(CostModel(trial))
        return np.asarray(weights * np.log(np.array(modelled) / measured))

    start = np.log([STARTS[name] for name in names])
    reach = np.log(FACTOR)
    found = least_squares(
        errors, start, loss="soft_l1", f_scale=OUTLIER, bounds=(start - reach, start + reach)
    )
    return with_fitted(profile, names, np.exp(found.x), source=source, num_digits=NUM_DIGITS)


def with_fitted(
    profile: Profile,
    names: Sequence[str],
    values: Floats,
    *,
    source: str,
    num_digits: int = 17,
) -> Profile:
    """Returns the profile with these of its step constants replaced by fitted ones."""
    constants = {
        name: Constant(value=float(f"{value:.{num_digits}g}"), origin="fitted", source=source)
        for name, value in zip(names, values.tolist(), strict=True)
    }
    return profile.model_copy(update={"step": profile.step.model_copy(update=constants)})


def _residual(profile: Profile, path: Path, kernel: Kernel) -> Residual:
    modelled = np.array(kernel.modelled(CostModel(profile)))
    signed = modelled / np.array(kernel.measured_s) - 1
    return Residual(
        table=path.name,
        part=kernel.part,
        num_rows=len(signed),
        median_error_ratio=float(np.median(np.abs(signed))),
        p95_error_ratio=float(np.quantile(np.abs(signed), 0.95)),
        mean_signed_error_ratio=float(np.mean(signed)),
    )


def _table_name(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".csv")
