"""Which conversations of a plan begin at which answers of others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from workloads.plan_parts import Conversation


class Branches:
    """Conversations are meant by their places in the sequence."""

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self._conversations = conversations
        self._after: dict[str, dict[int, list[int]]] = {}
        for place, each in enumerate(conversations):
            if each.branch is not None:
                turns = self._after.setdefault(each.branch.conversation_id, {})
                turns.setdefault(each.branch.turn, []).append(place)

    def after(self, conversation_id: str, turn: int) -> Sequence[int]:
        """Returns those that begin when this turn has been answered."""
        return self._after.get(conversation_id, {}).get(turn, ())

    def behind(self, conversation_id: str, turn: int) -> Iterator[int]:
        """Yields all that can not begin without this turn's answer."""
        for at, places in self._after.get(conversation_id, {}).items():
            for place in places if at >= turn else ():
                yield place
                yield from self.behind(self._conversations[place].conversation_id, 0)

    def session(self, root: int) -> Iterator[int]:
        """Yields the conversation at this place, and all that come of it."""
        yield root
        yield from self.behind(self._conversations[root].conversation_id, 0)

    def num_turns_behind(self, conversation_id: str, turn: int) -> int:
        """Counts the turns of others that can not be asked without this turn's answer."""
        return sum(
            len(self._conversations[place].turns) for place in self.behind(conversation_id, turn)
        )
