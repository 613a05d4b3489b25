"""One look per engine, the same in every figure: colour-blind-safe, and told apart without colour.

The colours are Paul Tol's "vibrant" set: distinct under the common colour-vision deficiencies, and
dark enough for white paper, light enough for a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

COLOURS = (
    *("#0077BB", "#EE7733", "#009988", "#EE3377", "#33BBEE", "#CC3311", "#999933"),
    *("#7755CC", "#8C6D46"),  # two more, for the paper's nine engines
)
SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "cross", "x", "star"),
    *("triangle-down", "pentagon"),
)
DASHES = ("solid", "dash", "dashdot", "longdash", "dot", "longdashdot")
WAITING = "#A9B3BE"
FAILED = "#CC3311"
# What a request spends its time on, in the order in which bars are stacked: Tol's "muted" set, none
# of which is an engine's colour.
STATE_COLOURS = {
    "queued": "#A9B3BE",
    "preempted": "#CC6677",
    "swap_wait": "#DDCC77",
    "held": "#88CCEE",
    "stalled": "#882255",
    "computing": "#44AA99",
}
# User classes, where lines are not engines: Tol's "muted", without those of the states.
CLASS_COLOURS = ("#4477CC", "#AA7700", "#AA4499", "#117733", "#999933", "#661100")
SWAP_OUT, SWAP_IN = "#AA4499", "#117733"  # Tol's "muted" too
STALL_SCALE = "Plasma"  # even steps of lightness; nothing in it looks like WAITING


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    colour: str
    symbol: str
    dash: str


def looks(engines: Iterable[str]) -> dict[str, Look]:
    """Gives each engine a look, in the manifest's order; beyond nine engines colours repeat with
    another dash."""
    return {
        name: Look(
            colour=COLOURS[index % len(COLOURS)],
            symbol=SYMBOLS[index % len(SYMBOLS)],
            dash=DASHES[(index // len(COLOURS) + index) % len(DASHES)],
        )
        for index, name in enumerate(engines)
    }


def faded(colour: str, ratio: float = 0.16) -> str:
    """Returns `#RRGGBB` as a CSS colour of that opacity, for bands."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{ratio})"


def text_on(colour: str) -> str:
    """Returns black or white, whichever has more contrast (WCAG 2) on a bar of `#RRGGBB`."""
    light = _luminance(colour)
    is_dark_better = (light + 0.05) / 0.05 >= 1.05 / (light + 0.05)
    return "#000" if is_dark_better else "#fff"


def _luminance(colour: str) -> float:
    """Returns the relative luminance of WCAG 2: 0 for black, 1 for white."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
