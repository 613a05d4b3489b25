"""Between which two rates a search has closed in, and why it got no further."""

from __future__ import annotations

from suite.sweep.capacity_result import SeedCapacity
from suite.sweep.crossing import Crossing
from suite.sweep.lattice import Lattice

Bracket = tuple[float | None, float | None]


def bracket(crossing: Crossing, lattice: Lattice) -> Bracket:
    """Returns (highest rate at which the target held, lowest at which it did not)."""
    low, high = (
        None if place is None else lattice.rate(place) for place in (crossing.holds, crossing.fails)
    )
    return low, high


def seed_capacity(
    seed: int, crossing: Crossing, lattice: Lattice, *, why_open: str | None
) -> SeedCapacity:
    """Returns the capacity; `why_open`: why the search ended before it was over, if it did."""
    rate, next_rate = bracket(crossing, lattice)
    notes = [] if rate is not None and next_rate is not None else [_one_sided(rate, next_rate)]
    if why_open is not None:
        notes.append(why_open)
    return SeedCapacity(
        seed=seed, rate=rate, next_rate=next_rate, note="; ".join(notes) if notes else None
    )


def _one_sided(rate: float | None, next_rate: float | None) -> str:
    if rate is not None:
        return f"{rate:g} conversations per second or more"
    if next_rate is not None:
        return f"not even {next_rate:g} conversations per second"
    return "of no rate it could be told whether the target holds"
