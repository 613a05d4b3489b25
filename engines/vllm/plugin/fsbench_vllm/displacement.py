"""Who must go so that more urgent requests get in: the embedded engine's rule; no vLLM in it.

The most urgent newcomer first, and only as long as each fits; the least urgent holder goes first,
never for somebody less urgent, and only if that makes enough room. Whether a newcomer may displace
a holder is a rule of its own: by level, never an equal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Newcomer:
    level: int  # smaller = more urgent
    num_blocks: int  # for all of its tokens
    who: Any = None  # whom a rule knows it by


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    level: int
    num_blocks: int  # that would be free without it
    num_missing: int  # that it still needs for the tokens it has
    who: Any = None


# True: the holder may go for the newcomer; False: it stays, the next may go; None: it comes first,
# and so do all who are more urgent.
Rule = Callable[[Newcomer, Holder], bool | None]


def by_level(newcomer: Newcomer, holder: Holder) -> bool | None:
    return None if newcomer.level >= holder.level else True


def displaced(
    newcomers: Sequence[Newcomer],
    holders: Sequence[Holder],
    *,
    num_free: int,
    num_watermark: int,
    max_holders: int,
    rule: Rule = by_level,
) -> list[int]:
    """Returns the indices of the holders to preempt now. Both sequences are in order, the most
    urgent first.

    `num_free` blocks are free; what holders miss is theirs first. `num_watermark` stay free beside
    a newcomer who is not alone.
    """
    gone: list[int] = []
    num_free -= sum(holder.num_missing for holder in holders)
    for num_admitted, newcomer in enumerate(newcomers):
        victims = _victims(
            newcomer,
            [(i, holder) for i, holder in enumerate(holders) if i not in gone],
            num_free=num_free,
            num_watermark=num_watermark,
            num_places=max_holders - num_admitted,
            rule=rule,
        )
        if victims is None:
            break
        gone += victims
        num_free += sum(holders[i].num_blocks + holders[i].num_missing for i in victims)
        num_free -= newcomer.num_blocks
    return gone


def _victims(
    newcomer: Newcomer,
    remaining: Sequence[tuple[int, Holder]],
    *,
    num_free: int,
    num_watermark: int,
    num_places: int,
    rule: Rule,
) -> list[int] | None:
    """Returns who must go for a newcomer; None if it can not get in, whoever goes."""
    victims: list[int] = []

    def fits() -> bool:
        num_others = len(remaining) - len(victims)
        margin = num_watermark if num_others else 0
        return newcomer.num_blocks + margin <= num_free and num_others < num_places

    for index, holder in reversed(remaining):
        if fits():
            break
        may_go = rule(newcomer, holder)
        if may_go is None:
            return None
        if may_go:
            victims.append(index)
            num_free += holder.num_blocks + holder.num_missing
    return victims if fits() else None
