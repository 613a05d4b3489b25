"""How the runs at a rate answer whether the target holds there.

In virtual time a run costs next to nothing: every seed's plan is played to its end and searched
alone (`ShareOfAPlan`). In wall time one run a rate goes on, with new users all the time, until the
interval of the share of users within SLO lies on one side of the target (`ShareInTheLongRun`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Protocol

from suite.measuring.limits import limits_of
from suite.playing.workload import Workload
from suite.records.reading import read_run
from suite.records.turn_table import read_turns
from suite.statistics.sequential import ShareLooks
from suite.sweep.capacity_request import CapacityRequest
from suite.sweep.capacity_result import RateSeen
from suite.sweep.crossing import Answer
from suite.sweep.how_many import so_many
from suite.sweep.rate_look import look_at
from workloads.errors import InputError
from workloads.plan_parts import UserClass
from workloads.spec_conversations import TraceConversations

OVERLOAD_SHOWS = 6.0  # times that in which a rate half a step too high fills the promised wait
NUM_LOOKS_ABOVE = 2
MORE_USERS = 1.25  # times those who are judged: the first fill the server and are not


def shows_after_s(
    user_classes: Iterable[UserClass], target_ratio: float, tolerance_ratio: float
) -> float:
    """Returns how long a rate has to be seen before it may be said that the target holds there.

    Where the rate is too high by half a step, the wait for the first token grows by that share of
    the time that passes, and all is well until it has come to the promise: that of the classes that
    can bring the share below the target, the strictest first.
    """
    share = 0.0
    for each in sorted(user_classes, key=lambda each: each.slo.ttft_s):
        share += each.share_ratio
        if share > 1 - target_ratio:
            return OVERLOAD_SHOWS * each.slo.ttft_s / (tolerance_ratio / 2)
    raise AssertionError(f"shares of user classes add up to {share}")


class RateJudge(Protocol):
    @property
    def num_seeds(self) -> int:
        """How many seeds are searched, each alone."""
        ...

    def changes(self, rate: float) -> dict[str, object]:
        """Returns what a run has beside its rate and its seed."""
        ...

    def answer(self, run: Path, engine: str, rate: float) -> Answer | None:
        """Returns what a complete run says; None where it says nothing of the rate."""
        ...

    def seen(self, run: Path, engine: str, rate: float) -> RateSeen | None:
        """Returns what is told of a rate's run, complete or not; None where nothing is. That the
        target does not hold is not told where the driver or the machine was at fault."""
        ...


class ShareOfAPlan:
    """Judges a rate by the share of a plan's users who were within SLO in its run."""

    def __init__(self, request: CapacityRequest) -> None:
        self._target_ratio = request.target_ratio
        self.num_seeds = request.num_seeds

    def changes(self, rate: float) -> dict[str, object]:
        return {}

    def answer(self, run: Path, engine: str, rate: float) -> Answer | None:
        metrics = json.loads((run / "metrics.json").read_text())
        share = metrics["engines"][engine]["slo"]["users_within_slo_ratio"]
        return Answer.HOLDS if share >= self._target_ratio else Answer.FAILS

    def seen(self, run: Path, engine: str, rate: float) -> RateSeen | None:
        return None  # the cells' own numbers tell it


class ShareInTheLongRun:
    """Judges a rate by the interval of the share in the long run."""

    num_seeds = 1

    def __init__(self, request: CapacityRequest, workload: Workload, rate: float) -> None:
        """Raises InputError where so few users could never show that the target holds; `rate`: the
        workload's own."""
        if request.target_ratio == 1:
            raise InputError(
                "--target must be below 1 for engines in wall time: that all users of the long run "
                "are within SLO no number of users shows, got 1"
            )
        self._request = request
        self._workload = workload
        self._shows_after_s = shows_after_s(
            workload.plan.user_classes, request.target_ratio, request.tolerance_ratio
        )
        fewest = ShareLooks(bound=request.target_ratio, most=request.num_users).fewest_above
        if request.num_users < fewest:
            raise InputError(
                f"--users must be at least {fewest} for --target {request.target_ratio:g}: fewer "
                f"can not show that it holds, got {request.num_users}"
            )
        needed, num = self.looks(rate).fewest_above, len(workload.plan.conversations)
        if isinstance(workload.spec.conversations, TraceConversations) and num < needed:
            raise InputError(
                f"conversations: the trace has {num}, and to show at {rate:g} a second that the "
                f"target holds takes {needed}; take a longer one, or a lower --target"
            )

    def looks(self, rate: float) -> ShareLooks:
        """Returns when a run at this rate is looked at."""
        fewest = ceil(rate * self._shows_after_s)
        return ShareLooks(
            bound=self._request.target_ratio,
            most=max(self._request.num_users, NUM_LOOKS_ABOVE * fewest),
            fewest=fewest,
        )

    def changes(self, rate: float) -> dict[str, object]:
        num_conversations = round(MORE_USERS * self.looks(rate).most)
        return {
            "repeats": 1,
            "stop": None,  # turns that fail are what is to be seen
            **so_many(num_conversations, self._workload),
        }

    def answer(self, run: Path, engine: str, rate: float) -> Answer | None:
        """Returns None where no turn succeeded: that is no matter of the rate."""
        seen = self.seen(run, engine, rate)
        if seen is None or seen.num_turns_failed == seen.num_turns:
            return None
        return Answer(seen.answer)

    def seen(self, run: Path, engine: str, rate: float) -> RateSeen | None:
        if not (run / "metrics.json").exists():
            return None
        manifest, plan = read_run(run)
        (trial,) = manifest.trials
        turns = read_turns([(1, trial.directory(run))])
        look = look_at(turns, plan, self.looks(rate))
        numbers = json.loads((run / "metrics.json").read_text())["engines"][engine]
        limits = limits_of(turns, plan, numbers)
        is_its_own = look.answer is not Answer.FAILS or limits.fault is None
        return RateSeen(
            rate=rate,
            answer=(look.answer if is_its_own else Answer.UNSURE).value,
            is_finished=trial.status == "complete",
            num_users=look.num_users,
            num_within_slo=look.num_within_slo,
            interval=look.interval,
            num_turns=look.num_turns,
            num_turns_failed=look.num_turns - look.num_succeeded,
            duration_s=trial.duration_s,
            limits=limits,
        )
