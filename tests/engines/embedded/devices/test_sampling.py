from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engines.core.sampling_params import SamplingParams
from engines.embedded.devices.sampling import draw, sample, uniform

LOGITS = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
points = st.floats(0.0, 1.0, exclude_max=True)


def params(**changes: object) -> SamplingParams:
    return SamplingParams(**({"max_tokens": 8, "temperature": 1.0} | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "point", "expected"),
    [
        ({}, 0.0, 0),
        ({}, 0.49, 0),
        ({}, 0.51, 1),
        ({}, 0.79, 1),
        ({}, 0.81, 2),
        ({}, 0.96, 3),
        ({"top_k": 2}, 0.62, 0),  # 0.5 / 0.8 = 0.625
        ({"top_k": 2}, 0.63, 1),
        ({"top_k": 1}, 0.999, 0),
        ({"top_k": 9}, 0.96, 3),  # more than there are: off
        ({"top_p": 0.8}, 0.999, 1),
        ({"top_p": 0.9}, 0.999, 2),  # the smallest set that reaches 0.9
        ({"top_p": 0.01}, 0.999, 0),  # never empty
        ({"top_k": 3, "top_p": 0.5}, 0.999, 0),  # of what top-k left: 0.5 / 0.95 > 0.5
        ({"temperature": 0.5}, 0.68, 0),  # squares: 0.25 / 0.365 = 0.685
        ({"temperature": 0.5}, 0.69, 1),
    ],
)
def test_known_answers(changes: dict[str, object], point: float, expected: int) -> None:
    assert draw(LOGITS, params(**changes), point) == expected


@pytest.mark.parametrize("temperature", [1e-8, 1e-308, 5e-324])
@pytest.mark.parametrize("changes", [{}, {"top_k": 2}, {"top_p": 0.5}])
def test_the_smallest_temperatures_are_greedy(
    temperature: float, changes: dict[str, object]
) -> None:
    param = params(temperature=temperature, **changes)
    assert draw(torch.tensor([1.0, 5.0, 3.0, -2.0]), param, 0.999) == 1


def test_greedy_takes_the_largest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [5.0, 3.0, 1.0]])
    assert sample(logits, [params(temperature=0.0)] * 2, [0, 0]) == [1, 0]


def test_end_of_sequence_is_masked_before_min_tokens_and_free_after() -> None:
    param = params(temperature=0.0, min_tokens=2, eos_token_ids=frozenset({1}))
    drawn = [sample(torch.tensor([[0.0, 3.0, 1.0]]), [param], [index])[0] for index in range(3)]
    assert drawn == [2, 2, 1]


def test_the_masked_token_is_not_drawn_either() -> None:
    eos = frozenset({0, 1, 2})
    drawn = {
        sample(LOGITS[None].clone(), [params(seed=seed, min_tokens=1, eos_token_ids=eos)], [0])[0]
        for seed in range(50)
    }
    assert drawn == {3}


@given(
    logits=st.lists(st.floats(-8, 8), min_size=2, max_size=20),
    point=points,
    top_k=st.integers(0, 22),
    top_p=st.floats(0.01, 1.0),
    temperature=st.floats(0.1, 3.0),
)
def test_a_draw_is_among_the_top_k_and_inside_the_nucleus(
    logits: list[float], point: float, top_k: int, top_p: float, temperature: float
) -> None:
    param = params(top_k=top_k, top_p=top_p, temperature=temperature)
    token = draw(torch.tensor(logits), param, point)
    weights = sorted(((math.exp(x / temperature)) for x in logits), reverse=True)
    kept = weights[:top_k] if top_k else weights
    weight = math.exp(logits[token] / temperature)
    assert weight >= kept[-1] * (1 - 1e-5)
    more_likely = sum(other for other in kept if other > weight * (1 + 1e-5))
    assert more_likely < top_p * sum(kept) * (1 + 1e-5)


@given(
    seed=st.integers(0, 2**63),
    output_index=st.integers(0, 10_000),
    row=st.integers(0, 4),
    top_p=st.sampled_from([0.7, 1.0]),
)
def test_a_draw_does_not_depend_on_its_batch(
    seed: int, output_index: int, row: int, top_p: float
) -> None:
    logits = torch.randn(5, 50, generator=torch.Generator().manual_seed(output_index))
    param = params(seed=seed, top_p=top_p)
    alone = sample(logits[row : row + 1].clone(), [param], [output_index])[0]
    others = [params(seed=9, top_k=3)] * 5
    others[row] = param
    indices = [7] * 5
    indices[row] = output_index
    assert sample(logits.clone(), others, indices)[row] == alone


def test_draws_follow_the_distribution() -> None:
    logits = LOGITS.repeat(4000, 1)
    tokens = sample(logits, [params(seed=3)] * 4000, list(range(4000)))
    counts = Counter(tokens)
    expected = [2000, 1200, 600, 200]
    chi_square = sum((counts[token] - n) ** 2 / n for token, n in enumerate(expected))
    assert chi_square < 16.3  # the 0.999 quantile with 3 degrees of freedom; the seed is fixed


def test_a_uniform_number_is_the_same_on_every_machine() -> None:
    assert uniform(7, 3) == 0.5648628684101831
    assert len({uniform(seed, index) for seed in range(30) for index in range(30)}) == 900
