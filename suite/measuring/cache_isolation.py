"""Whether a trial's prompts were found in the server's prefix cache though nobody of that trial had
sent them: then what was measured is the cache, warmed by another trial or an earlier run.

Held against what the server says of each turn (`cached_tokens` of its usage). Rightly found are
the conversation's own history, what the plan's conversations share, and what the server puts before
every prompt. A server that says nothing can not be checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from suite.measuring.engine_run import EngineRun
from suite.measuring.shared_prefixes import SharedRatios, shared_ratios
from suite.measuring.slowdown import solo_turns
from suite.plurals import several
from suite.records.prompt_lengths import PromptLengths
from suite.records.run_directory import Isolation, Trial
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats
from workloads.plan import Plan
from workloads.plan_parts import Turn

SLACK_TOKENS = 16  # a turn: a block of most caches, and words that conversations share by chance
NOTE = (
    "prompts of other trials were found in the server's prefix cache (see the warnings): what was "
    "measured may be the cache"
)
_REMEDIES = {
    None: "play it again with prefix_cache: isolate",
    "shared": "set prefix_cache: isolate",
    "cache_salt": "the server does not heed cache_salt; set cache_salt: false",
    "words": "the server reuses more than prefixes; set prefix_cache: {reset: …}, or restart it",
    "reset": "the reset leaves the cache as it is; set prefix_cache: isolate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What one trial found in the server's cache."""

    num_told_turns: int  # of which the server says what it found
    num_warm_turns: int
    num_warm_tokens: int  # found beyond what is rightly found, in warm turns
    num_prompt_tokens: int  # in all of the told turns

    @property
    def is_isolated(self) -> bool | None:
        return not self.num_warm_turns if self.num_told_turns else None


@dataclass(frozen=True)  # computes when asked
class CacheCheck:
    engine: EngineRun

    @cached_property
    def trials(self) -> list[Findings]:
        """What each trial found, in the order of the engine's trials."""
        engine = self.engine
        return [
            findings(
                engine.all_turns.where(engine.all_turns.repeat == trial.repeat),
                engine.plan,
                trial.prompt_lengths,
            )
            for trial in engine.trials
        ]

    @cached_property
    def solo(self) -> Findings | None:
        engine = self.engine
        if not engine.trials or engine.solo is None:
            return None
        turns = solo_turns(engine.run, engine.trials[0].engine)
        lengths = engine.trials[0].prompt_lengths
        return None if turns is None else findings(turns, engine.plan, lengths)

    def as_json(self) -> dict[str, Any]:
        warm = sum(each.num_warm_tokens for each in self.trials)
        prompt = sum(each.num_prompt_tokens for each in self.trials)
        verdicts = {each.is_isolated for each in self.trials} - {None}
        return {
            "is_isolated": all(verdicts) if verdicts else None,
            "is_solo_isolated": None if self.solo is None else self.solo.is_isolated,
            "num_warm_turns": sum(each.num_warm_turns for each in self.trials),
            "num_warm_tokens": warm,
            "warm_tokens_ratio": warm / prompt if prompt else None,
        }

    def warnings(self) -> list[str]:
        found = [
            text
            for trial, mine in zip(self.engine.trials, self.trials, strict=True)
            for text in _warnings(f"repeat {trial.repeat}", mine, trial.isolation)
        ]
        if self.solo is not None:
            first: Trial = self.engine.trials[0]
            found += _warnings("the solo run", self.solo, first.isolation)
        return found


def doubt(found: Mapping[str, Any], *, with_solo: bool) -> str | None:
    """Returns why numbers can not be trusted, by `prefix_cache` of metrics.json; None where they
    can. `with_solo`: numbers that the solo run's go into as well."""
    is_warm = found.get("is_isolated") is False
    if with_solo:
        is_warm = is_warm or found.get("is_solo_isolated") is False
    return NOTE if is_warm else None


def findings(turns: TurnTable, plan: Plan, lengths: PromptLengths | None = None) -> Findings:
    """Returns what one trial found, by its `turns`; `lengths`: of its prompts in words."""
    cached, prompt = turns.num_cached_tokens, turns.num_prompt_tokens
    is_told = ~np.isnan(cached)
    own = _own_tokens(turns, plan, lengths)
    excess = cached - own
    is_warm = excess > SLACK_TOKENS
    if is_warm.any():  # only now is it worth while to look for what conversations share
        shared = _shared(turns, is_warm, shared_ratios(plan))
        excess -= shared * np.maximum(0.0, prompt - own)
        is_warm = excess > SLACK_TOKENS
    return Findings(
        num_told_turns=int(is_told.sum()),
        num_warm_turns=int(is_warm.sum()),
        num_warm_tokens=round(float(excess[is_warm].sum())),
        num_prompt_tokens=int(np.nansum(prompt[is_told])),
    )


def _own_tokens(turns: TurnTable, plan: Plan, lengths: PromptLengths | None) -> Floats:
    """Returns what each turn's conversation has sent and received before, [num_turns]; before a
    first turn, what stands before every prompt. NaN where that is unknown."""
    order = np.lexsort((turns.turn, turns.conversation))
    follows = np.zeros(len(order), dtype=bool)
    before, after = order[:-1], order[1:]
    follows[1:] = (turns.conversation[before] == turns.conversation[after]) & (
        turns.turn[before] + 1 == turns.turn[after]
    )
    sent_and_received = turns.num_prompt_tokens + turns.num_output_tokens
    own = np.full(len(order), np.nan)
    own[order[1:][follows[1:]]] = sent_and_received[before[follows[1:]]]
    own[turns.turn == 0] = _common_tokens(turns, plan, lengths)
    for row, origin in _branched(turns, plan):
        own[row] = sent_and_received[origin]
    own[_replaced(turns, plan)] = np.nan
    return own


def _replaced(turns: TurnTable, plan: Plan) -> list[int]:
    """Returns the rows of turns with another system prompt at the front: how much of it, and of the
    history behind it, a cache may rightly hold is unknown."""
    replacing = {
        (each.conversation_id, number)
        for each in plan.conversations
        for number, turn in enumerate(each.turns)
        if turn.replaces_system
    }
    if not replacing:
        return []
    names = zip(turns.conversation_id.tolist(), turns.turn.tolist(), strict=True)
    return [row for row, name in enumerate(names) if name in replacing]


def _branched(turns: TurnTable, plan: Plan) -> Iterator[tuple[int, int]]:
    """Yields the row of each branch's first turn, and that of the turn it goes on from."""
    origins = {each.conversation_id: each.branch for each in plan.conversations if each.branch}
    if not origins:
        return
    names = zip(turns.conversation_id.tolist(), turns.turn.tolist(), strict=True)
    rows = {name: row for row, name in enumerate(names)}
    for conversation_id, branch in origins.items():
        row = rows.get((conversation_id, 0))
        origin = rows.get((branch.conversation_id, branch.turn))
        if row is not None and origin is not None and branch.keeps_history:
            yield row, origin


def _common_tokens(turns: TurnTable, plan: Plan, lengths: PromptLengths | None) -> float:
    """Returns what even the leanest first prompt has beyond the plan's words: the chat template,
    and what the trial itself put there."""
    words = {
        each.conversation_id: _num_tokens(each.turns[0], lengths)
        for each in plan.conversations
        if not each.keeps_history
    }
    rows = np.flatnonzero((turns.turn == 0) & ~np.isnan(turns.num_prompt_tokens))
    beyond = [
        turns.num_prompt_tokens[row] - words[name]
        for row, name in zip(rows, turns.conversation_id[rows], strict=True)
        if name in words
    ]
    return max(0.0, float(min(beyond))) if beyond else 0.0


def _num_tokens(first: Turn, lengths: PromptLengths | None) -> int:
    """Counts the tokens of a first turn's words: no tokenizer makes fewer of them."""
    if first.messages:
        texts = ((each.text, each.num_tokens) for each in first.messages)
        return sum(num if text is None else len(text.split()) for text, num in texts)
    text, num = first.prompt_text, len(first.new_prompt_token_ids)
    if text is not None:
        return len(text.split())
    return num if lengths is None else lengths.num_tokens_of(num, is_first=True)


def _shared(turns: TurnTable, chosen: Bools, ratios: SharedRatios) -> Floats:
    """Returns the shared ratio of the chosen turns, [num_turns]; 0 for the others."""
    shared = np.zeros(len(turns))
    for row in np.flatnonzero(chosen):
        shared[row] = ratios.get((turns.conversation_id[row], int(turns.turn[row])), 0.0)
    return shared


def _warnings(what: str, mine: Findings, isolation: Isolation | None) -> list[str]:
    by = None if isolation is None else isolation.by
    if mine.num_warm_turns:
        ratio = mine.num_warm_tokens / mine.num_prompt_tokens
        return [
            f"{what}, prefix cache: in {several(mine.num_warm_turns, 'turn')} of "
            f"{mine.num_told_turns:,} the server found {mine.num_warm_tokens:,} prompt tokens "
            f"({ratio:.0%} of all) that their conversations had not sent before; gates and "
            f"comparisons on such numbers are inconclusive; {_REMEDIES[by]}"
        ]
    if by == "shared" and mine.is_isolated is None:
        return [
            f"{what}, prefix cache: it is shared with other trials and earlier runs, and the "
            "server does not say what it found there; set prefix_cache: isolate for its own numbers"
        ]
    return []
