"""The generator against the published statistics of the data it was fitted to, and the data."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.workloads.examples import quantile_distance
from workloads.shapes import ConversationShape, Tally
from workloads.sharegpt_like import sharegpt_like_conversations
from workloads.traces import READERS

NUM = 3000
RATIOS = (0.05, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
# published quantiles of the ShareGPT turns (30,731 turns of 5,678 conversations)
TURNS = dict(zip(RATIOS, (1, 2, 4, 8, 12, 15, 23), strict=True))
FIRST_PROMPTS = dict(zip(RATIOS, (11, 27, 64, 194, 600, 1089, 2383), strict=True))
OUTPUTS = dict(zip(RATIOS, (44, 228, 415, 628, 834, 920, 998), strict=True))
LATER_PROMPTS = dict(zip(RATIOS[:4], (3, 13, 26, 65), strict=True))  # above: the folded-in turns


@pytest.fixture(scope="module")
def conversations() -> list[ConversationShape]:
    return list(islice(sharegpt_like_conversations(seed=11), NUM))


def first_prompts(conversations: list[ConversationShape]) -> list[int]:
    return [c.turns[0].num_new_prompt_tokens for c in conversations]


def later_prompts(conversations: list[ConversationShape]) -> list[int]:
    return [turn.num_new_prompt_tokens for c in conversations for turn in c.turns[1:]]


def outputs(conversations: list[ConversationShape]) -> list[int]:
    return [turn.num_output_tokens for c in conversations for turn in c.turns]


def test_lengths_and_turns_have_the_published_quantiles(
    conversations: list[ConversationShape],
) -> None:
    turns = [len(c.turns) for c in conversations]
    assert quantile_distance(turns, TURNS) < 0.03
    assert quantile_distance(first_prompts(conversations), FIRST_PROMPTS) < 0.035
    assert quantile_distance(outputs(conversations), OUTPUTS) < 0.05
    assert quantile_distance(later_prompts(conversations), LATER_PROMPTS) < 0.05
    assert np.mean(turns) == pytest.approx(5.41, rel=0.06)
    assert np.mean(np.array(turns) > 1) == pytest.approx(0.796, abs=0.025)
    assert np.mean(outputs(conversations)) == pytest.approx(439, rel=0.04)


def test_a_wrong_scale_would_be_seen(conversations: list[ConversationShape]) -> None:
    doubled = [2 * length for length in outputs(conversations)]
    assert quantile_distance(doubled, OUTPUTS) > 0.2


def test_outputs_of_one_conversation_are_alike(conversations: list[ConversationShape]) -> None:
    pairs = [
        (first.num_output_tokens, second.num_output_tokens)
        for c in conversations
        for first, second in pairwise(c.turns)
    ]
    assert stats.spearmanr(pairs).statistic == pytest.approx(0.54, abs=0.04)
    strangers = outputs(conversations)
    assert abs(stats.spearmanr(strangers, np.roll(strangers, 1000)).statistic) < 0.05


def test_nothing_piles_up_at_the_ends_of_the_ranges(
    conversations: list[ConversationShape],
) -> None:
    for lengths, low, high in (
        (first_prompts(conversations), 1, 4096),
        (later_prompts(conversations), 1, 2048),
        (outputs(conversations), 2, 1024),
        ([len(c.turns) for c in conversations], 1, 40),
    ):
        assert low <= min(lengths)
        assert max(lengths) <= high
        assert lengths.count(high) <= 0.003 * len(lengths)


def test_conversation_k_does_not_depend_on_how_many_are_drawn(
    conversations: list[ConversationShape],
) -> None:
    assert list(islice(sharegpt_like_conversations(seed=11), 50)) == conversations[:50]
    assert list(islice(sharegpt_like_conversations(seed=12), 50)) != conversations[:50]


@pytest.mark.traces
def test_the_generator_is_near_the_real_trace(
    conversations: list[ConversationShape], real_trace: Callable[[str], Path]
) -> None:
    path = real_trace("sharegpt_openchat_turns.csv.gz")
    real = list(READERS["sharegpt"](path, Tally()))
    clean = [length for length in later_prompts(real) if length <= 1024]
    for made, measured, bound in (
        (first_prompts(conversations), first_prompts(real), 0.035),
        (later_prompts(conversations), clean, 0.035),
        (outputs(conversations), outputs(real), 0.05),
        ([len(c.turns) for c in conversations], [len(c.turns) for c in real], 0.035),
    ):
        assert stats.ks_2samp(made, measured).statistic < bound
