"""What was seen of an engine at a rate, in words: its share in the long run, what limited it."""

from __future__ import annotations

from reports.words import units
from suite.measuring.limits import Limits
from suite.sweep.capacity_result import RateSeen

MOSTLY = 0.5  # of the turns that missed


def long_run(seen: RateSeen) -> str:
    """Returns what is known of the share of users within SLO. A run that ends as soon as one end of
    the interval decides tells next to nothing of the other."""
    low, high = seen.interval
    if seen.answer == "holds":
        return f"at least {units.percent(low)}"
    if seen.answer == "fails":
        return f"at most {units.percent(high)}"
    return units.percent_interval(seen.interval)


def why_unsure(seen: RateSeen, target_ratio: float) -> str:
    """Returns why it was not told whether the target holds at a rate; empty where it was."""
    if seen.answer != "unsure":
        return ""
    if not seen.is_finished:
        return "cut short: the budget was used up"
    if seen.limits.fault is not None and seen.interval[1] < target_ratio:
        return f"not the engine: {seen.limits.fault}"
    if seen.interval[0] > target_ratio:
        return "waits went on growing, so that the share will fall"
    return f"too near to the target for {units.count(seen.num_users)} users to tell"


def limited_by(limits: Limits) -> str:
    """Returns the cause in a few words; what is only seen from outside is said so."""
    not_the_engine = {
        f"not the engine: {limits.fault}": limits.fault is not None,
        "nothing: no turn missed": not limits.num_missed,
        "failing turns": (limits.failed_ratio or 0) >= MOSTLY,
    }
    others = [words for words, is_so in not_the_engine.items() if is_so]
    return others[0] if others else _in_the_engine(limits)


def _in_the_engine(limits: Limits) -> str:
    is_late = (limits.late_ratio or 0) >= MOSTLY
    if limits.queueing_ratio is None or limits.preemption_ratio is None:
        return "queueing: first tokens came late" if is_late else "slow tokens: gaps were too long"
    if limits.preemption_ratio > limits.queueing_ratio:
        return "preemption"
    return "queueing" if is_late else "slow steps: too much in a batch"


def limits_in_words(limits: Limits) -> str:
    """Returns the figures behind that, in one line."""
    words = []
    if limits.num_missed:
        late, failed = limits.late_ratio or 0, limits.failed_ratio or 0
        shares = {
            "waited too long for the first token": late,
            "had too long a gap": max(0.0, 1 - late - failed),
            "failed": failed,
        }
        told = ", ".join(f"{units.percent(part)} {how}" for how, part in shares.items() if part)
        words.append(f"of {units.count(limits.num_missed)} turns that missed {told}")
    if limits.queueing_ratio is not None and limits.preemption_ratio is not None:
        words.append(
            f"requests were queued for {units.percent(limits.queueing_ratio)} of their time, "
            f"preempted or held up by copies for {units.percent(limits.preemption_ratio)}"
        )
    if limits.num_preemptions is not None:
        words.append(f"{units.count(limits.num_preemptions)} preemptions")
    if limits.is_driver_valid:
        words.append("the driver was in its bounds")
    return "; ".join(words)
