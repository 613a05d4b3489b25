from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.device import Batch, SequenceChunk
from engines.core.sampling_params import SamplingParams
from engines.simulated.cost_model import CostModel, pairs
from engines.simulated.profile import load_profile, shipped_profiles

SAMPLING = SamplingParams(max_tokens=10)
MODELS = {name: CostModel(load_profile(name)) for name in shipped_profiles()}
models = st.sampled_from(sorted(MODELS)).map(MODELS.__getitem__)
contexts = st.lists(st.integers(1, 8000), max_size=40)
chunks = st.lists(st.tuples(st.integers(2, 1024), st.integers(0, 8000)), max_size=4)


def seconds(cost: CostModel, decodes: list[int], prefills: list[tuple[int, int]]) -> float:
    """Of a step of decodes with so many tokens of context and chunks of (tokens, start)."""
    parts = [*((1, context - 1) for context in decodes), *prefills]
    return cost.execute_s(
        Batch(
            chunks=[
                SequenceChunk(f"r{i}", range(num), start, [], SAMPLING, 0)
                for i, (num, start) in enumerate(parts)
            ]
        )
    )


@given(models, contexts, chunks, st.integers(1, 4000))
def test_a_longer_context_or_one_more_decode_is_never_faster(
    cost: CostModel, decodes: list[int], prefills: list[tuple[int, int]], more: int
) -> None:
    before = seconds(cost, [*decodes, 100], prefills)
    assert seconds(cost, [*decodes, 100 + more], prefills) >= before
    assert seconds(cost, [*decodes, 100, more], prefills) >= before


@given(
    models,
    contexts,
    chunks,
    st.tuples(st.integers(2, 1000), st.integers(0, 8000)),
    st.integers(1, 1000),
)
def test_a_longer_chunk_or_one_that_starts_later_is_never_faster(
    cost: CostModel,
    decodes: list[int],
    prefills: list[tuple[int, int]],
    chunk: tuple[int, int],
    more: int,
) -> None:
    num, start = chunk
    before = seconds(cost, decodes, [*prefills, chunk])
    assert before >= seconds(cost, decodes, prefills) or not (prefills or decodes)
    assert seconds(cost, decodes, [*prefills, (num + more, start)]) >= before
    assert seconds(cost, decodes, [*prefills, (num, start + more)]) >= before


@given(models, st.permutations([3, 500, 4000, 4000, 77]))
def test_the_order_of_a_batch_does_not_matter(cost: CostModel, decodes: list[int]) -> None:
    assert seconds(cost, decodes, []) == seconds(cost, sorted(decodes), [])


def test_pairs_are_those_a_causal_mask_leaves() -> None:
    for num, start in ((1, 0), (1, 9), (5, 0), (4, 3)):
        visible = sum(key <= start + query for query in range(num) for key in range(start + num))
        assert pairs(num, start) == visible


def test_a_single_stream_is_bound_by_reading_the_weights() -> None:
    profile = load_profile("rtx4090-llama31-8b")
    weights_s = 2 * 7.5e9 / profile.step.gemm_bytes_per_s.value  # embedding aside
    assert seconds(MODELS["rtx4090-llama31-8b"], [100], []) == pytest.approx(weights_s, rel=0.1)


def test_a_long_prefill_is_bound_by_its_products() -> None:
    profile = load_profile("rtx4090-llama31-8b")
    products_s = 2 * 6.98e9 * 2048 / profile.step.gemm_flops_per_s.value
    assert seconds(MODELS["rtx4090-llama31-8b"], [], [(2048, 0)]) == pytest.approx(
        products_s, rel=0.15
    )


def test_two_gpus_share_the_layers_and_pay_for_the_all_reduce() -> None:
    one = seconds(MODELS["rtxpro6000-qwen3-32b"], [1000] * 4, [])
    two = seconds(MODELS["rtxpro6000x2-qwen3-32b"], [1000] * 4, [])
    assert one / 2 < two < one


def test_only_what_is_sampled_passes_the_head() -> None:
    cost = MODELS["rtx4090-llama31-8b"]
    chunk = SequenceChunk("r", range(512), 0, [], None, 0)
    unsampled = cost.execute_s(Batch(chunks=[chunk]))
    assert seconds(cost, [], [(512, 0)]) - unsampled == pytest.approx(cost.head_s(1))
