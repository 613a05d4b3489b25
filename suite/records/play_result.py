"""How the playing of a plan ended, by either of its two players."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from suite.records.answerers import AnsweredBy
from suite.records.run_directory import Counts

StoppedBy = Literal["signal", "caller", "driver", "errors", "enough", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Enough:
    """Why a trial in wall time ends before its plan does, without anything being wrong."""

    note: str  # one line
    is_complete: bool  # what was asked is known; False: there is no more time to know it


# Asked again and again with the directory of the trial that is played.
IsEnough = Callable[[Path], Enough | None]


def never_enough(_: Path) -> None:
    """Has every plan played to its end."""


def signal_note(number: int) -> str:
    """Returns why playing stopped: Ctrl-C is SIGINT, any other signal is said by its name."""
    name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    return f"stopped by {name}"


def interrupt_note(interrupt: KeyboardInterrupt) -> str:
    """Returns why playing stopped; a signal's handler raises with its number as argument."""
    return signal_note(interrupt.args[0] if interrupt.args else signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayResult:
    """When playing began, how much was played, and what ended it; the records are on disk."""

    started_at_monotonic_s: float | None  # None: it never started; 0 in virtual time
    duration_s: float  # from the start to the last turn's end
    counts: Counts
    stopped_by: StoppedBy | None  # None: the plan was played to its end
    note: str | None  # one line on why
    answered_by: list[AnsweredBy] = field(default_factory=list)  # none in virtual time
    ran_out_at_s: float | None = None  # a closed loop's plan was used up before its time had passed
