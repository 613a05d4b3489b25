"""Distributions of lengths that a workload file gives."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from math import erf, log, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import counts, lengths, small_plan
from workloads.distributions import Stream
from workloads.errors import WorkloadError
from workloads.lengths import Drawn, drawn_lengths, read_histogram
from workloads.spec_lengths import LengthsSpec

SIZES = st.integers(1, 5000)


def drawn(folder: Path = Path(), **spec: object) -> Drawn:
    return drawn_lengths(LengthsSpec.model_validate(spec), "conversations.turns", folder)


def sample(law: Drawn, num: int = 20_000) -> np.ndarray:
    return law.draw(Stream(3, "test").uniforms(num))


def phi(z: float) -> float:
    return 0.5 * (1 + erf(z / sqrt(2)))


@given(low=SIZES, more=st.integers(0, 5000), uniforms=st.lists(st.floats(1e-12, 1 - 1e-12)))
def test_every_law_stays_inside_its_bounds_and_grows_with_the_uniform(
    low: int, more: int, uniforms: list[float]
) -> None:
    high = low + more
    middle = (low + high) / 2
    for law in (
        drawn(uniform=[low, high]),
        drawn(normal={"mean": middle, "std": 100.0, "min": low, "max": high}),
        drawn(lognormal={"median": middle, "sigma": 1.0, "min": low, "max": high}),
    ):
        values = law.draw(np.sort(np.array(uniforms)))
        assert values.dtype == np.int64
        assert all(low <= value <= high for value in values)
        assert (np.diff(values) >= 0).all()


def test_uniform_lengths_are_equally_likely() -> None:
    values = sample(drawn(uniform={"min": 3, "max": 7}))
    assert np.bincount(values)[3:] / len(values) == pytest.approx(np.full(5, 0.2), abs=0.01)


def test_a_normal_law_is_cut_exactly_and_not_clipped() -> None:
    """The share of each whole number is that of the law within the bounds, at the ends too."""
    values = sample(drawn(normal={"mean": 10.0, "std": 4.0, "min": 8, "max": 14}), 100_000)
    edges = [phi((edge - 10.0) / 4.0) for edge in np.arange(7.5, 15.0)]
    expected = np.diff(edges) / (edges[-1] - edges[0])
    assert np.bincount(values)[8:] / len(values) == pytest.approx(expected, abs=0.006)


def test_a_lognormal_law_has_its_median_and_spread() -> None:
    values = sample(drawn(lognormal={"median": 800.0, "sigma": 0.7}))
    assert np.median(values) == pytest.approx(800, rel=0.02)
    assert np.log(values).std() == pytest.approx(0.7, rel=0.02)
    top = sample(drawn(lognormal={"median": 800.0, "sigma": 0.7, "max": 900}))
    share = phi((log(700.5) - log(800)) / 0.7) / phi((log(900.5) - log(800)) / 0.7)
    assert (top <= 700).mean() == pytest.approx(share, abs=0.01)


@given(st.dictionaries(SIZES, st.integers(1, 100), min_size=1, max_size=20))
def test_a_histogram_draws_each_size_as_often_as_it_weighs(weights: dict[int, int]) -> None:
    rows = "".join(f"{size},{weight}\n" for size, weight in weights.items())
    with TemporaryDirectory() as folder:  # tmp_path is one for all examples
        (Path(folder) / "h.csv").write_text(f"tokens,count\n{rows}")
        law = drawn(Path(folder), histogram="h.csv")
    total = sum(weights.values())
    values = law.draw((np.arange(total) + 0.5) / total)  # one in the middle of each unit of weight
    sizes, found = np.unique(values, return_counts=True)
    assert dict(zip(sizes.tolist(), found.tolist(), strict=True)) == weights


def test_a_histogram_may_be_gzipped_and_its_sizes_of_nothing_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "h.csv"
    path.write_bytes(gzip.compress(b"tokens,p\n0,0.001\n5,0.5\n9,0.499\n"))
    found = read_histogram(path)
    assert found.sizes.tolist() == [5, 9]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("tokens,p\n0,0.5\n5,0.5\n", "h.csv: sizes must be 1 or more, got 0.5 of a weight of 1"),
        ("tokens,p\n", "h.csv: sizes must be 1 or more, got 0 of a weight of 0"),
        ("tokens,p\n1.5,1\n", "h.csv:2: tokens must be a whole number ≥ 0, got '1.5'"),
        ("tokens,p\n5,-1\n", "h.csv:2: p must be a number ≥ 0, got '-1'"),
        ("tokens,q\n5,1\n", "h.csv:1: columns must hold tokens, p or "),
    ],
)
def test_a_bad_histogram_is_refused_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "h.csv").write_text(text)
    with pytest.raises(WorkloadError) as caught:
        drawn(tmp_path, histogram="h.csv")
    assert problem in str(caught.value) and "\n" not in str(caught.value)


def test_bounds_that_a_law_never_reaches_are_refused() -> None:
    with pytest.raises(WorkloadError, match=r"turns.normal has next to nothing between min 500"):
        drawn(normal={"mean": 10.0, "std": 4.0, "min": 500, "max": 600})


SYNTHETIC = (
    "source: synthetic, count: 40, turns: {uniform: [1, 5]}, "
    "prompt_tokens: {lognormal: {median: 50, sigma: 1, max: 2000}}, output_tokens: 7"
)


def synthetic_plan(folder: Path, extra: str = "") -> list[list[tuple[int, int]]]:
    return lengths(small_plan(folder, f"conversations={{{SYNTHETIC}{extra}}}"))


def test_synthetic_conversations_have_the_lengths_asked_for(tmp_path: Path) -> None:
    plan = synthetic_plan(tmp_path)
    assert {len(turns) for turns in plan} == {1, 2, 3, 4, 5}
    assert {output for turns in plan for _, output in turns} == {7}
    assert all(1 <= prompt <= 2000 for turns in plan for prompt, _ in turns)


def test_another_law_for_one_length_leaves_the_others(tmp_path: Path) -> None:
    plan = synthetic_plan(tmp_path)
    other = small_plan(
        tmp_path, f"conversations={{{SYNTHETIC}}}", "conversations.output_tokens={uniform: [3, 9]}"
    )
    assert [[p for p, _ in turns] for turns in plan] == [
        [p for p, _ in turns] for turns in lengths(other)
    ]
    first = synthetic_plan(tmp_path, ", first_prompt_tokens: 4000")
    assert {turns[0][0] for turns in first} == {4000}
    assert [turns[1:] for turns in first] == [turns[1:] for turns in plan]
    assert synthetic_plan(tmp_path, ", max_turns: 9")[:9] == plan[:9]


def test_a_histogram_lies_beside_the_workload_file(tmp_path: Path) -> None:
    (tmp_path / "turns.csv").write_text("value,weight\n2,1\n")
    override = SYNTHETIC.replace("{uniform: [1, 5]}", "{histogram: turns.csv}")
    assert {
        len(turns) for turns in lengths(small_plan(tmp_path, f"conversations={{{override}}}"))
    } == {2}


def test_a_number_of_turns_beyond_reason_is_refused(tmp_path: Path) -> None:
    override = SYNTHETIC.replace("{uniform: [1, 5]}", "{uniform: [200000, 200001]}")
    with pytest.raises(WorkloadError, match=r"conversations.turns draws 200,00\d, more than"):
        small_plan(tmp_path, f"conversations={{{override}}}")


def test_synthetic_lengths_are_scaled_like_others(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, f"conversations={{{SYNTHETIC}, length_scale: 0.5}}")
    assert counts(plan)["turns with lengths multiplied by 0.5"] == plan.num_turns


@pytest.mark.traces
def test_a_real_histogram_of_prompt_lengths_is_read(real_trace: Callable[[str], Path]) -> None:
    found = read_histogram(real_trace("servegen_m-large_input_pmf.csv.gz"))
    assert found.sizes[0] == 1
    assert found.cumulated[-1] == pytest.approx(1.0, abs=1e-3)
