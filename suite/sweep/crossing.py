"""The search for where a falling curve crosses its target: by steps until it is passed, then by
bisection.

Pure: it asks for a place on a lattice of whole numbers and is told whether the target holds there.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

Search = Generator[int, bool, "Crossing"]
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Two neighbouring places, both seen: the target holds at `holds` and does not at `fails`."""

    holds: int | None  # None: not even at the lower bound
    fails: int | None  # None: even at the upper bound


def find_crossing(start: int, *, low: int, high: int, stride: int) -> Search:
    """Searches between `low` and `high`, both included.

    If the target holds below some place and nowhere above, that place is found with about
    2·log₂(stride) + |place − start| / stride questions. A curve that goes up and down has several
    crossings: one of them is found, the first on the way from `start`.
    """
    assert low <= start <= high and stride >= 1, (low, start, high, stride)
    holds: int | None = None
    fails: int | None = None
    place = start
    while True:
        if (yield place):
            holds = place
        else:
            fails = place
        if holds is None:
            if place == low:
                return Crossing(holds=None, fails=fails)
            place = max(place - stride, low)
        elif fails is None:
            if place == high:
                return Crossing(holds=holds, fails=None)
            place = min(place + stride, high)
        elif fails - holds == 1:
            return Crossing(holds=holds, fails=fails)
        else:
            place = (holds + fails) // 2


def find_all(
    searches: Mapping[Key, Search],
    ask: Callable[[Sequence[tuple[Key, int]]], Sequence[bool | None]],
) -> dict[Key, Crossing | None]:
    """Drives several searches at once, one question of each in a round; returns their crossings.

    An answer of None (it could not be told) ends that search without a crossing.
    """
    found: dict[Key, Crossing | None] = {}
    questions = {key: next(search) for key, search in searches.items()}
    while questions:
        asked = list(questions.items())
        for (key, _), answer in zip(asked, ask(asked), strict=True):
            if answer is None:
                found[key] = None
                del questions[key]
                continue
            try:
                questions[key] = searches[key].send(answer)
            except StopIteration as end:
                found[key] = end.value
                del questions[key]
    return {key: found[key] for key in searches}
