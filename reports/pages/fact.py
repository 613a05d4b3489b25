"""A line of a page's first screen with a mark before it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

ORDER = ("fail", "inconclusive", "none", "pass")  # the worst first


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """Holds one line: its mark, the word in the mark, and what is said."""

    outcome: str  # one of ORDER; or label: it judges nothing
    label: str
    text: str


def joined(names: Sequence[str], everyone: Collection[str]) -> str:
    """Returns `a, b`; three names or more that are all there are become `every engine`."""
    is_everyone = set(names) == set(everyone) and len(names) > 2
    return "every engine" if is_everyone else ", ".join(names)
