"""Random draws that are the same on every machine.

Everything starts from the raw 64-bit words of PCG64 (whose stream numpy guarantees) turned into
uniforms by exact arithmetic, and goes through an inverse CDF; numpy's own normal, gamma or beta
samplers are not used, because their algorithms may change between versions. Results that become
part of a plan are rounded (whole tokens, whole microseconds), which hides last-bit differences
between maths libraries.

Each use has a named stream of its own: asking for more conversations, or other arrivals, leaves
every other draw as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Stream:
    """An endless, named sequence of uniforms in the open interval (0, 1)."""

    def __init__(self, seed: int, name: str) -> None:
        entropy = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        self._bits = np.random.PCG64(np.random.SeedSequence(int.from_bytes(entropy, "big")))

    def uniforms(self, num: int) -> Floats:
        """Returns uniforms, shape [num]. They are the 52 upper bits plus a half: exact in a
        float64, never 0 or 1."""
        words = np.asarray(self._bits.random_raw(num), dtype=np.uint64)
        return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52

    def integers(self, low: int, high: int, num: int) -> Ints:
        """Returns integers, shape [num], uniform in [low, high)."""
        return low + np.floor(self.uniforms(num) * (high - low)).astype(np.int64)

    def shuffled(self, num: int) -> Ints:
        """Returns a permutation of 0 … num − 1."""
        return np.argsort(self.uniforms(num), kind="stable").astype(np.int64)


def hashed_uniforms(seed: int, name: str, ids: Ints, num: int) -> Floats:
    """Returns uniforms in (0, 1), shape [len(ids), num], that depend on the seed, the name and
    their id alone: for ids so many that a stream for each would be slow."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    key = np.uint64(int.from_bytes(digest[:8], "big"))
    places = np.arange(1, num + 1, dtype=np.uint64) * _GOLDEN
    with np.errstate(over="ignore"):  # modulo 2^64 throughout
        words = _mixed(_mixed(ids.astype(np.uint64) + key)[:, np.newaxis] + places)
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(words: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Returns SplitMix64's output for these states (Steele, Lea and Flood 2014)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def to_microseconds(seconds: Floats) -> Ints:
    return np.rint(seconds * 1e6).astype(np.int64)


def exponential(uniforms: Floats, mean: float, maximum: float | None = None) -> Floats:
    """Returns exponential values. Without a maximum they are cut nowhere, so a Poisson process of
    them has the rate asked for.

    With one they are truncated to [0, maximum], never clipped onto it.
    """
    highest = 1.0 if maximum is None else -float(np.expm1(-maximum / mean))
    return -mean * np.log1p(-within(uniforms, 0.0, highest))


def gamma(uniforms: Floats, mean: float, cv: float) -> Floats:
    """Returns gamma values; `cv` is the coefficient of variation: standard deviation over mean; 1 =
    exponential."""
    shape = 1.0 / cv**2
    return np.asarray(special.gammaincinv(shape, uniforms) * (mean / shape), dtype=np.float64)


def within(uniforms: Floats, low_cdf: float, high_cdf: float) -> Floats:
    """Returns uniforms squeezed between two CDF values, the exact way to draw from a truncated law.

    It gives the distribution that drawing again until the value is inside would give.
    """
    return low_cdf + uniforms * (high_cdf - low_cdf)


def lognormal(uniforms: Floats, median: float, sigma: float, maximum: float | None) -> Floats:
    """Returns lognormal values, truncated to (0, maximum] where a maximum is given; never clipped
    onto it."""
    highest = 1.0 if maximum is None else float(special.ndtr(np.log(maximum / median) / sigma))
    return median * np.exp(sigma * special.ndtri(within(uniforms, 0.0, highest)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LognormalMixture:
    """Token counts: a mixture of lognormals, rounded, truncated to minimum … maximum."""

    weights: tuple[float, ...]
    mu: tuple[float, ...]  # of ln(tokens)
    sigma: tuple[float, ...]
    minimum: int
    maximum: int

    def draw(self, choice: Floats, uniforms: Floats) -> Ints:
        """Returns token counts, shape [num] as both arguments; `choice` picks the component, by its
        mass inside the range."""
        mu, sigma = np.asarray(self.mu), np.asarray(self.sigma)
        low = special.ndtr((np.log(self.minimum - 0.5) - mu) / sigma)
        high = special.ndtr((np.log(self.maximum + 0.5) - mu) / sigma)
        mass = np.cumsum(np.asarray(self.weights) * (high - low))
        component = np.searchsorted(mass, choice * mass[-1], side="right")
        squeezed = low[component] + uniforms * (high[component] - low[component])
        values = np.exp(mu[component] + sigma[component] * special.ndtri(squeezed))
        return _whole(values, self.minimum, self.maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledBeta:
    """Token counts: scale · Beta(a, b), rounded, truncated to minimum … maximum."""

    a: float
    b: float
    scale: float
    minimum: int
    maximum: int

    def draw(self, uniforms: Floats) -> Ints:
        low = float(special.betainc(self.a, self.b, (self.minimum - 0.5) / self.scale))
        high = float(special.betainc(self.a, self.b, (self.maximum + 0.5) / self.scale))
        values = self.scale * special.betaincinv(self.a, self.b, within(uniforms, low, high))
        return _whole(values, self.minimum, self.maximum)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnePlusNegativeBinomial:
    """Counts of 1 + NegBin(r, p), truncated to at most `maximum`."""

    r: float
    p: float
    maximum: int

    def draw(self, uniforms: Floats) -> Ints:
        failures = np.arange(self.maximum, dtype=np.float64)  # 0 … maximum − 1
        cdf = special.betainc(self.r, failures + 1.0, self.p)
        failures_drawn = np.searchsorted(cdf, uniforms * cdf[-1], side="left")
        return np.asarray(1 + failures_drawn, dtype=np.int64)


def correlated(shared_normal: float, uniforms: Floats, rho: float) -> Floats:
    """Returns uniforms that share one normal effect (a Gaussian copula): pairs correlate by
    `rho`."""
    normals = np.sqrt(rho) * shared_normal + np.sqrt(1.0 - rho) * special.ndtri(uniforms)
    return np.asarray(special.ndtr(normals), dtype=np.float64)


def quotas(num: int, weights: Sequence[float]) -> list[int]:
    """Returns `num` split by weight into whole parts (largest remainders), so that shares are
    kept."""
    exact = [num * weight / sum(weights) for weight in weights]
    parts = [int(share) for share in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: (parts[i] - round(exact[i], 9), i))
    for i in by_remainder[: num - sum(parts)]:
        parts[i] += 1
    return parts


def _whole(values: Floats, minimum: int, maximum: int) -> Ints:
    whole = np.rint(values).astype(np.int64)
    # rounding in the last bit at the very edge of the truncated range, not a cut tail
    assert whole.min(initial=minimum) >= minimum - 1, whole.min()
    assert whole.max(initial=maximum) <= maximum + 1, whole.max()
    return np.clip(whole, minimum, maximum)
