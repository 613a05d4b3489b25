"""What became of a plan's turns: planned = recorded + lost + not begun, and why."""

from __future__ import annotations

from suite.records.run_directory import Counts
from workloads.branches import Branches
from workloads.plan import Plan


class TurnCounter:
    """Hears of every recorded turn."""

    def __init__(self, plan: Plan) -> None:
        self._branches = Branches(plan.conversations)
        self._num_turns = {each.conversation_id: len(each.turns) for each in plan.conversations}
        self._num_planned = plan.num_turns
        self._num_recorded = 0
        self._num_failed = 0
        self._num_cut = 0
        self._num_not_asked = 0

    def add(
        self, conversation_id: str, turn: int, *, error: str | None, error_source: str | None
    ) -> None:
        self._num_recorded += 1
        if error is None:
            return
        if error_source == "stop":
            self._num_cut += 1
        else:
            self._num_failed += 1
            self._num_not_asked += self._num_turns[conversation_id] - turn - 1
            self._num_not_asked += self._branches.num_turns_behind(conversation_id, turn)

    def counts(self, *, is_stopped: bool, num_not_begun: int = 0) -> Counts:
        """Returns the counts. `is_stopped` by the user's will: what is missing was not due yet.
        `num_not_begun`: turns that the player left out because the planned time had passed."""
        num_lost = self._num_planned - self._num_recorded - num_not_begun
        return Counts(
            planned=self._num_planned,
            recorded=self._num_recorded,
            failed=self._num_failed,
            lost=num_lost,
            cut=self._num_cut,
            not_asked=self._num_not_asked,
            not_due=num_lost - self._num_not_asked if is_stopped else 0,
            not_begun=num_not_begun,
        )
