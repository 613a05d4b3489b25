"""Whether prompts were as long as planned, by the server's own count.

A turn's planned prompt is what its conversation has asked up to it, by the plan, and what it was
answered, by the server's count; and what the trial itself put before the first prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from suite.measuring.engine_run import EngineRun
from suite.plurals import several
from suite.records.prompt_lengths import PromptLengths
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Floats

MAX_DEVIATION_RATIO = 0.05  # what is beyond it is said
COUNTED = "counted_ratio"


@dataclass(frozen=True)  # computes when asked
class LengthCheck:
    """The prompts of one engine's turns that were answered and counted."""

    engine: EngineRun

    @cached_property
    def planned(self) -> Floats:
        """Returns the planned tokens of each of the engine's measured turns, [num_turns]; NaN where
        the server did not count, or an answer before it."""
        return planned_tokens(self.engine)

    @property
    def lengths(self) -> PromptLengths | None:
        """How words were made; the last repeat's, for all ask one server."""
        found = [trial.prompt_lengths for trial in self.engine.trials]
        return next((each for each in reversed(found) if each is not None), None)

    def as_json(self) -> dict[str, Any]:
        planned, counted = self._totals
        told = int((~np.isnan(self.planned)).sum())
        unavailable = {} if planned else {COUNTED: "the server does not count its prompts' tokens"}
        lengths = self.lengths
        return {
            COUNTED: counted / planned if planned else None,
            "first_counted_ratio": self._first_ratio,
            "planned_tokens": round(planned),
            "counted_tokens": round(counted),
            "num_told_turns": told,
            "num_turns_off": self._num_off,
            "sized_by": None if lengths is None else lengths.by,
            "tokens_per_word": None if lengths is None else lengths.tokens_per_word,
            "template_tokens": None if lengths is None else lengths.first_tokens,
            "unavailable": unavailable,
        }

    def warnings(self) -> list[str]:
        """Returns one line where prompts were not as long as planned, with what to do."""
        planned, counted = self._totals
        if not planned or abs(counted / planned - 1) <= MAX_DEVIATION_RATIO:
            return []
        return [
            f"prompts had {counted / planned:.2f} times the planned tokens by the server's count "
            f"({counted:,.0f} for {planned:,.0f}; {several(self._num_off, 'turn')} of "
            f"{int((~np.isnan(self.planned)).sum()):,} off by more than "
            f"{MAX_DEVIATION_RATIO:.0%}): {self._why()}"
        ]

    @property
    def _totals(self) -> tuple[float, float]:
        told = ~np.isnan(self.planned)
        counted = self.engine.turns.num_prompt_tokens[told]
        return float(self.planned[told].sum()), float(counted.sum())

    @property
    def _first_ratio(self) -> float | None:
        """Returns counted / planned of conversations' first prompts, in which nothing comes back
        of the server's own."""
        first = ~np.isnan(self.planned) & (self.engine.turns.turn == 0)
        planned = float(self.planned[first].sum())
        counted = float(self.engine.turns.num_prompt_tokens[first].sum())
        return counted / planned if planned else None

    @property
    def _num_off(self) -> int:
        told = ~np.isnan(self.planned)
        ratio = self.engine.turns.num_prompt_tokens[told] / self.planned[told]
        return int((np.abs(ratio - 1) > MAX_DEVIATION_RATIO).sum())

    def _why(self) -> str:
        lengths = self.lengths
        if lengths is None:
            return (
                "the source's own words were sent, whose planned lengths are estimates, or token "
                "ids to which the server adds; compare engines by what the server counts"
            )
        if lengths.by == "none":
            why = f" ({lengths.note})" if lengths.note else ""
            return (
                f"a word was sent for each token, for nobody told how many it makes{why}; set "
                "count_tokens, or tokenizer to the server's tokenizer.json"
            )
        first = self._first_ratio
        if first is not None and abs(first - 1) <= MAX_DEVIATION_RATIO:
            return (
                f"first prompts are as long as planned ({first:.2f} times), but answers come back "
                "in the history as other tokens than they were counted as, as those of models do "
                "that were not trained; compare engines of one tokenizer only"
            )
        short = self._num_shorter_than_template(lengths)
        if short:
            return (
                f"{several(short, 'first turn')} ask for less than the {lengths.first_tokens} "
                "tokens that the server's template puts there; plan longer prompts, or use api: "
                "completions"
            )
        return (
            "the server counts the plan's words otherwise than it did before the run; set "
            "tokenizer to its tokenizer.json"
        )

    def _num_shorter_than_template(self, lengths: PromptLengths) -> int:
        conversations = self.engine.measured.plan.conversations
        return sum(
            len(each.turns[0].new_prompt_token_ids) < lengths.first_tokens for each in conversations
        )


def planned_tokens(engine: EngineRun) -> Floats:
    """Returns the planned prompt tokens of each measured turn, [num_turns], NaN where unknown. Of
    conversations that branch off from others or change what they begin with, none is told."""
    turns = engine.turns
    asked = {
        each.conversation_id: np.cumsum([len(turn.new_prompt_token_ids) for turn in each.turns])
        for each in engine.plan.conversations
        if not each.keeps_history and not any(turn.replaces_system for turn in each.turns)
    }
    answered = _answered_before(engine.all_turns)
    own = {
        trial.repeat: trial.isolation.num_tokens if trial.isolation else 0
        for trial in engine.trials
    }
    planned = np.full(len(turns), np.nan)
    for row in np.flatnonzero(~np.isnan(turns.num_prompt_tokens) & ~turns.has_failed):
        conversation, turn = turns.conversation_id[row], int(turns.turn[row])
        repeat = int(turns.repeat[row])
        new = float(asked[conversation][turn]) if conversation in asked else 0.0
        if new:  # else the source has words alone, of no known length
            planned[row] = new + answered[repeat, conversation, turn] + own[repeat]
    return planned


def _answered_before(turns: TurnTable) -> dict[tuple[int, str, int], float]:
    """Returns what each turn's conversation was answered before it, by repeat, conversation and
    turn."""
    found: dict[tuple[int, str, int], float] = {}
    total, before = 0.0, (-1, -1)
    for row in np.lexsort((turns.turn, turns.conversation, turns.repeat)):
        mine = int(turns.repeat[row]), int(turns.conversation[row])
        total, before = (total if mine == before else 0.0), mine
        found[mine[0], turns.conversation_id[row], int(turns.turn[row])] = total
        total += float(turns.num_output_tokens[row])
    return found
