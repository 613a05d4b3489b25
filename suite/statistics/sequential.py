"""Whether a share lies above or below a bound, asked again and again while samples come in.

To look often at an interval that is right once, and to stop as soon as it says what one waits for,
errs far more often than it states. So the looks are fixed beforehand, at so many samples each, and
the k-th of a side is given 1/(k(k + 1)) of that side's half of the error: all of them together, how
many there may be, come to no more than the whole (Bonferroni's inequality; spending an error over
looks: Lan & DeMets 1983). What holds at all looks at once holds together, so the interval is that
of the highest lower and the lowest upper end (a confidence sequence: Robbins 1970).

Samples are of one stretch of time, and misses come in bursts. So an end is the mid-P one on the
effective number n / d, with the design effect d from batches of neighbours (batch means), and not
less than MIN_DESIGN_EFFECT: of few misses no d can be estimated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, log

import numpy as np
import numpy.typing as npt

from suite.statistics.quantiles import CONFIDENCE_RATIO
from suite.statistics.shares import mid_p_low

Outcomes = npt.NDArray[np.int8]
Ends = tuple[float, float]
HIT, MISS, OPEN = 1, 0, -1

MIN_DESIGN_EFFECT = 3.0  # users of a server near its limit: 3 to 7 (benchmarks/capacity_looks.py)
NUM_BATCHES = 12
GROWTH = 2.0  # from one look to the next
FIRST_BELOW = 30  # samples at the first look for a share below the bound: two in a batch
FIRST_ABOVE = 16  # at least, at the first look for one above


def always(_: int) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What the looks so far tell of a share."""

    interval: Ends
    is_above: bool | None  # the bound; None: that can not be told


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareLooks:
    """The looks at a growing row of samples, of which `most` are taken; `bound` is below 1."""

    bound: float
    most: int
    fewest: int = 0  # at the first look for a share above: those who come in the time it takes
    confidence_ratio: float = CONFIDENCE_RATIO

    @property
    def fewest_above(self) -> int:
        """How many samples show a share above the bound where each is a hit, but not less than
        `fewest`: mid-P's end is over it when boundⁿ / 2 is the first look's error."""
        effective = log(2 * self._error(1)) / log(self.bound)
        return max(FIRST_ABOVE, self.fewest, ceil(MIN_DESIGN_EFFECT * effective))

    def look(self, outcomes: Outcomes, is_steady: Callable[[int], bool] = always) -> Known:
        """Returns what is known of the share, from samples in their order of which some are OPEN:
        whatever they will turn out to be, its interval lies within this one.

        That it is above is said only by a look whose number of samples `is_steady`: a server that
        falls behind serves the first well.
        """
        row = np.full(self.most, OPEN, dtype=np.int8)
        row[: len(outcomes)] = outcomes[: self.most]
        lows = {
            num: _low(row[:num] == HIT, self._error(look))
            for look, num in enumerate(self._looks(self.fewest_above), start=1)
        }
        highs = [
            1 - _low(row[:num] == MISS, self._error(look))
            for look, num in enumerate(self._looks(FIRST_BELOW), start=1)
        ]
        low, high = max(lows.values(), default=0.0), min(highs, default=1.0)
        is_over = any(each > self.bound and is_steady(num) for num, each in lows.items())
        is_under = high < self.bound
        return Known(interval=(low, high), is_above=None if is_over == is_under else is_over)

    def _looks(self, first: int) -> Iterator[int]:
        num = first
        while num <= self.most:
            yield num
            num = ceil(GROWTH * num)

    def _error(self, look: int) -> float:
        """Returns the error of one side at its k-th look."""
        return (1 - self.confidence_ratio) / 2 / (look * (look + 1))


def _low(hits: npt.NDArray[np.bool_], error: float) -> float:
    """Returns the lower end of the share of hits; of the share of misses it is the upper end's."""
    num = len(hits) / design_effect(hits)
    return mid_p_low(float(hits.mean()) * num, num, error)


def design_effect(hits: npt.NDArray[np.bool_]) -> float:
    """Returns how many neighbouring samples tell as much as an independent one, at least
    MIN_DESIGN_EFFECT: the variance of batches' sums over that of as many independent samples."""
    share = float(hits.mean())
    if share in (0.0, 1.0):
        return MIN_DESIGN_EFFECT
    starts = np.linspace(0, len(hits), NUM_BATCHES + 1).astype(int)
    sums = np.diff(np.concatenate([[0], np.cumsum(hits)])[starts])
    squares = float(np.square(sums - share * np.diff(starts)).sum())
    few = NUM_BATCHES / (NUM_BATCHES - 1)
    return max(MIN_DESIGN_EFFECT, few * squares / (len(hits) * share * (1 - share)))
