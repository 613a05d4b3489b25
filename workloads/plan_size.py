"""How much a plan holds, counted while its conversations are chosen."""

from __future__ import annotations

from workloads.bounds import MAX_PLAN_TOKENS, MAX_PLAN_TURNS
from workloads.errors import WorkloadError
from workloads.shapes import ConversationShape


class PlanSize:
    """The sum so far, so that a slip is refused before all of it has been drawn."""

    def __init__(self) -> None:
        self._num_conversations = 0
        self._num_turns = 0
        self._num_tokens = 0

    def add(self, shape: ConversationShape) -> None:
        """Counts the conversation. Raises WorkloadError for more than a machine can be asked to
        hold."""
        self._num_conversations += 1
        for each in shape.session():
            self._num_turns += len(each.turns)
            self._num_tokens += sum(turn.num_new_prompt_tokens for turn in each.turns)
        self._check(self._num_tokens, MAX_PLAN_TOKENS, "prompts have", "tokens")
        self._check(self._num_turns, MAX_PLAN_TURNS, "plan has", "turns")

    def _check(self, num: int, most: int, whose: str, what: str) -> None:
        if num > most:
            raise WorkloadError(
                f"conversations: their {whose} more than {most:,} {what} in all, {num:,} with the "
                f"first {self._num_conversations:,}; ask for fewer or shorter ones"
            )
