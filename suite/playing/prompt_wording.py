"""Finds out, before a trial, how many tokens the server makes of the words in prompts.

A few requests: the words in groups, one group twice, and one later prompt. Words whose groups have
the same whole number of tokens each are kept where there are enough of them, so that a prompt's
length is exact; else it is all words and their mean.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from engines.api import Endpoint
from suite.driver.wording import Wording
from suite.driver.words import WORDS
from suite.playing.token_counts import (
    FileCounter,
    NotCountedError,
    ServerCounter,
    TokenCounter,
    UsageCounter,
)
from suite.records.prompt_lengths import CountedFrom, PromptLengths
from workloads.plan import Plan

NUM_GROUPS = 8
MIN_WORDS = 32  # that are enough to tell prompts apart
MIN_TOKENS_PER_WORD, MAX_TOKENS_PER_WORD = 0.2, 20.0  # beyond them nobody counted tokens


def prompt_wording(endpoint: Endpoint, plan: Plan, *, turn_timeout_s: float) -> Wording | None:
    """Returns the words for this server; None where none are sent in place of tokens. Raises
    EngineInputError for a tokenizer that can not be read."""
    if endpoint.prompt_form == "token_ids" or not _has_tokens_alone(plan):
        return None
    reasons = []
    for by in _ways(endpoint):
        try:
            counter = _counter(by, endpoint, turn_timeout_s)
            return fitted(
                counter,
                by,
                num_groups=len(WORDS) if by == "file" else NUM_GROUPS,
                has_system=_has_messages_of_tokens(plan),
            )
        except NotCountedError as error:
            reasons.append(str(error))
    return Wording(
        lengths=PromptLengths(by="none", num_words=len(WORDS), note="; ".join(reasons) or None)
    )


def fitted(
    counter: TokenCounter, by: CountedFrom, *, num_groups: int, has_system: bool = False
) -> Wording:
    """Returns the wording by what the counter tells. Raises NotCountedError."""
    groups = word_groups(num_groups)
    one = groups[-1]  # long words: the likeliest to be found out of step
    counts = counter.first([*map(_text, groups), _text([*one, *one])])
    *singles, twice = counts
    first = max(0, 2 * singles[-1] - twice)
    costs = [count - first for count in singles]
    mean = sum(costs) / len(WORDS)
    if not MIN_TOKENS_PER_WORD <= mean <= MAX_TOKENS_PER_WORD:
        raise NotCountedError(f"{sum(costs)} tokens for {len(WORDS)} words are no count of them")
    later = max(0, counter.later(_text(one), _text(one)) - costs[-1])
    both = counter.with_system(_text(one), _text(one)) if has_system else 0
    words, tokens_per_word = _even_words(groups, costs) or (tuple(WORDS), mean)
    return Wording(
        words=words,
        lengths=PromptLengths(
            by=by,
            tokens_per_word=tokens_per_word,
            first_tokens=first,
            later_tokens=later,
            beside_tokens=max(0, both - singles[-1] - costs[-1]),
            num_words=len(words),
        ),
    )


def word_groups(num_groups: int) -> list[list[str]]:
    """Returns all words in groups of words about as long as each other."""
    ordered = sorted(WORDS, key=lambda word: (len(word), word))
    ends = [len(ordered) * n // num_groups for n in range(num_groups + 1)]
    return [ordered[start:end] for start, end in itertools.pairwise(ends)]


def _even_words(
    groups: Sequence[Sequence[str]], costs: Sequence[int]
) -> tuple[tuple[str, ...], float] | None:
    """Returns the words of which each makes the same number of tokens, and that number, the lowest
    that enough words make; None where there is none."""
    by_cost: dict[int, set[str]] = defaultdict(set)
    for group, cost in zip(groups, costs, strict=True):
        if cost > 0 and cost % len(group) == 0:
            by_cost[cost // len(group)].update(group)
    for cost, words in sorted(by_cost.items()):
        if len(words) >= MIN_WORDS:
            return tuple(word for word in WORDS if word in words), float(cost)
    return None


def _ways(endpoint: Endpoint) -> list[CountedFrom]:
    if endpoint.tokenizer is not None:
        return ["file"]
    ways: dict[str, list[CountedFrom]] = {
        "auto": ["usage", "tokenize"],
        "usage": ["usage"],
        "tokenize": ["tokenize"],
        "words": [],
    }
    return ways[endpoint.count_tokens]


def _counter(by: CountedFrom, endpoint: Endpoint, turn_timeout_s: float) -> TokenCounter:
    if by == "file":
        assert endpoint.tokenizer is not None, endpoint
        return FileCounter(Path(endpoint.tokenizer), is_chat=endpoint.api == "chat")
    if by == "tokenize":
        return ServerCounter(endpoint)
    return UsageCounter(endpoint, turn_timeout_s=turn_timeout_s)


def _has_tokens_alone(plan: Plan) -> bool:
    """Returns whether a turn, or a message of one, has no words of its own."""
    turns = [turn for each in plan.conversations for turn in each.turns]
    return any(
        any(message.text is None for message in turn.messages)
        if turn.messages
        else turn.prompt_text is None
        for turn in turns
    )


def _has_messages_of_tokens(plan: Plan) -> bool:
    """Returns whether a turn has messages without words beside each other."""
    turns = (turn for each in plan.conversations for turn in each.turns)
    return any(message.text is None for turn in turns for message in turn.messages[1:])


def _text(words: Iterable[str]) -> str:
    return "".join(f" {word}" for word in words)
