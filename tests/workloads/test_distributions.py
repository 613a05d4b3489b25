from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workloads.distributions import (
    LognormalMixture,
    OnePlusNegativeBinomial,
    ScaledBeta,
    Stream,
    correlated,
    exponential,
    gamma,
    lognormal,
    quotas,
)

NUM = 20_000


def test_a_stream_gives_known_words() -> None:
    """Committed values: another numpy, another machine must give the same."""
    stream = Stream(7, "arrivals")
    assert [f"{value:.17g}" for value in stream.uniforms(3)] == KNOWN_UNIFORMS
    assert stream.integers(256, 8000, 4).tolist() == KNOWN_INTEGERS


KNOWN_UNIFORMS = ["0.82508837779733535", "0.67091917689960379", "0.76726897133373162"]
KNOWN_INTEGERS = [4385, 4672, 7036, 6575]


def test_streams_of_other_names_or_seeds_differ() -> None:
    first = Stream(7, "a").uniforms(4)
    assert not np.intersect1d(first, Stream(7, "b").uniforms(4)).size
    assert not np.intersect1d(first, Stream(8, "a").uniforms(4)).size


def test_drawing_in_pieces_gives_the_same_numbers() -> None:
    pieces = Stream(1, "x")
    joined = np.concatenate([pieces.uniforms(3), pieces.uniforms(5)])
    assert joined.tolist() == Stream(1, "x").uniforms(8).tolist()


@given(st.integers(0, 2**63), st.text(max_size=20))
def test_uniforms_are_inside_the_open_unit_interval(seed: int, name: str) -> None:
    uniforms = Stream(seed, name).uniforms(50)
    assert uniforms.min() > 0
    assert uniforms.max() < 1


@given(st.integers(0, 1000), st.integers(0, 40))
def test_a_shuffle_is_a_permutation(seed: int, num: int) -> None:
    assert sorted(Stream(seed, "s").shuffled(num).tolist()) == list(range(num))


def test_exponential_gaps_follow_their_law_up_to_the_tail() -> None:
    gaps = exponential(Stream(3, "gaps").uniforms(NUM), mean=0.5)
    assert stats.kstest(gaps, "expon", args=(0, 0.5)).statistic < 0.012
    assert gaps.max() > 0.5 * np.log(NUM) * 0.7  # nothing holds the tail back


@pytest.mark.parametrize("cv", [0.3, 1.0, 3.0])
def test_gamma_gaps_have_the_mean_and_cv_asked_for(cv: float) -> None:
    gaps = gamma(Stream(3, "gaps").uniforms(NUM), mean=2.0, cv=cv)
    assert gaps.mean() == pytest.approx(2.0, rel=0.06)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.06)


def test_a_maximum_truncates_and_does_not_pile_up() -> None:
    uniforms = Stream(3, "think").uniforms(NUM)
    for values in (lognormal(uniforms, 2.0, 1.0, 5.0), exponential(uniforms, 2.0, 5.0)):
        assert values.max() < 5.0
        assert np.unique(values).size == NUM
    truncated = lognormal(uniforms, 2.0, 1.0, 5.0)
    redrawn = lognormal(Stream(4, "redrawn").uniforms(2 * NUM), 2.0, 1.0, None)
    assert stats.ks_2samp(truncated, redrawn[redrawn <= 5.0]).statistic < 0.02


def test_a_lognormal_has_its_median() -> None:
    values = lognormal(Stream(3, "think").uniforms(NUM), 2.0, 1.0, None)
    assert np.median(values) == pytest.approx(2.0, rel=0.03)
    assert np.log(values).std() == pytest.approx(1.0, rel=0.03)


@given(
    st.integers(0, 1000),
    st.integers(1, 30),
    st.integers(0, 3000),
    st.floats(0.05, 0.95),
)
def test_a_mixture_stays_inside_its_range(seed: int, low: int, width: int, weight: float) -> None:
    mixture = LognormalMixture(
        weights=(weight, 1 - weight),
        mu=(3.0, 6.0),
        sigma=(1.0, 0.5),
        minimum=low,
        maximum=low + width,
    )
    stream = Stream(seed, "mixture")
    tokens = mixture.draw(stream.uniforms(40), stream.uniforms(40))
    assert tokens.min() >= low
    assert tokens.max() <= low + width


def test_a_truncated_mixture_is_the_mixture_drawn_again_until_it_fits() -> None:
    def draw(maximum: int, num: int) -> np.ndarray:
        mixture = LognormalMixture(
            weights=(0.6, 0.4), mu=(3.0, 6.0), sigma=(1.0, 0.5), minimum=1, maximum=maximum
        )
        stream = Stream(maximum, "mixture")
        return mixture.draw(stream.uniforms(num), stream.uniforms(num))

    wide = draw(1_000_000, 2 * NUM)
    assert stats.ks_2samp(draw(300, NUM), wide[wide <= 300]).statistic < 0.02


def test_scaled_beta_and_one_plus_negative_binomial_match_scipy() -> None:
    uniforms = Stream(5, "x").uniforms(NUM)
    beta = ScaledBeta(a=1.2, b=1.5, scale=1000.0, minimum=1, maximum=999)
    expected = 1000 * stats.beta(1.2, 1.5).rvs(NUM, random_state=np.random.default_rng(1))
    assert stats.ks_2samp(beta.draw(uniforms), expected).statistic < 0.02
    turns = OnePlusNegativeBinomial(r=0.9, p=0.17, maximum=1000).draw(uniforms)
    share = np.bincount(turns, minlength=6)[1:6] / NUM
    assert share == pytest.approx(stats.nbinom(0.9, 0.17).pmf(np.arange(5)), abs=0.01)
    assert OnePlusNegativeBinomial(r=0.9, p=0.17, maximum=3).draw(uniforms).max() == 3


def test_the_copula_gives_pairs_the_correlation_asked_for() -> None:
    effects = stats.norm.ppf(Stream(1, "effect").uniforms(NUM // 4))
    noise = Stream(1, "noise").uniforms(NUM // 2).reshape(-1, 2)
    pairs = np.array(
        [correlated(float(z), row, 0.55) for z, row in zip(effects, noise, strict=True)]
    )
    normals = stats.norm.ppf(pairs)
    assert np.corrcoef(normals.T)[0, 1] == pytest.approx(0.55, abs=0.03)
    assert stats.kstest(pairs[:, 0], "uniform").statistic < 0.03


@given(st.integers(0, 500), st.lists(st.floats(0.01, 1.0), min_size=1, max_size=6))
def test_quotas_use_everything_and_are_right_to_one(num: int, weights: list[float]) -> None:
    parts = quotas(num, weights)
    assert sum(parts) == num
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - num * weight / sum(weights)) < 1 + 1e-6
