"""The search for where a falling curve crosses its target: by steps until it is passed, then by
bisection.

Pure: it asks for a place on a lattice of whole numbers and is told whether the target holds there.
Where that can not be told, the search closes in on both sides of what is unsure.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


class Answer(Enum):
    """Whether the target holds at a place."""

    HOLDS = "holds"
    FAILS = "fails"
    UNSURE = "unsure"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Two places, both seen: the target holds at `holds` and does not at `fails`. Between them lies
    nothing, or what is unsure."""

    holds: int | None  # None: not even at the lower bound
    fails: int | None  # None: even at the upper bound


class Search:
    """Searches between `low` and `high`, both included; asks at `place` until that is None.

    If the target holds below some place and nowhere above, that place is found with about
    2·log₂(stride) + |place − start| / stride questions. A curve that goes up and down has several
    crossings: one of them is found, the first on the way from `start`.
    """

    def __init__(self, start: int, *, low: int, high: int, stride: int) -> None:
        assert low <= start <= high and stride >= 1, (low, start, high, stride)
        self._low, self._high, self._stride = low, high, stride
        self._holds: int | None = None
        self._fails: int | None = None
        self._unsure: list[int] = []  # places between those two
        self.place: int | None = start

    @property
    def crossing(self) -> Crossing:
        """Returns what is known so far."""
        return Crossing(holds=self._holds, fails=self._fails)

    def tell(self, answer: Answer) -> None:
        """Takes the answer for `place`, and moves on to the next one."""
        place = self.place
        assert place is not None, "the search is over"
        match answer:
            case Answer.HOLDS:
                self._holds = place
            case Answer.FAILS:
                self._fails = place
            case Answer.UNSURE:
                self._unsure.append(place)
        self._unsure = [each for each in self._unsure if self._is_between(each)]
        self.place = self._next()

    def _is_between(self, place: int) -> bool:
        above = self._holds is None or place > self._holds
        return above and (self._fails is None or place < self._fails)

    def _next(self) -> int | None:
        known = (*self._unsure, *(each for each in (self._holds, self._fails) if each is not None))
        if self._holds is None and min(known) > self._low:
            return max(min(known) - self._stride, self._low)
        if self._holds is not None and self._fails is None and max(known) < self._high:
            return min(max(known) + self._stride, self._high)
        below, above = self._unsure_ends()
        if self._holds is not None and below is not None and below - self._holds > 1:
            return (self._holds + below) // 2
        if self._fails is not None and above is not None and self._fails - above > 1:
            return (above + self._fails) // 2
        return None

    def _unsure_ends(self) -> tuple[int | None, int | None]:
        """Returns (what lies next above `holds`, what lies next below `fails`) of what is known."""
        return min(self._unsure, default=self._fails), max(self._unsure, default=self._holds)


def find_all(
    searches: Mapping[Key, Search],
    ask: Callable[[Sequence[tuple[Key, int]]], Sequence[Answer | None]],
) -> dict[Key, Crossing | None]:
    """Drives several searches at once, one question of each in a round; returns their crossings.

    An answer of None (there will be none) ends that search without a crossing.
    """
    broken: set[Key] = set()
    while questions := [
        (key, search.place)
        for key, search in searches.items()
        if search.place is not None and key not in broken
    ]:
        for (key, _), answer in zip(questions, ask(questions), strict=True):
            if answer is None:
                broken.add(key)
            else:
                searches[key].tell(answer)
    return {key: None if key in broken else search.crossing for key, search in searches.items()}
