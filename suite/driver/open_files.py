"""How many files the driver may hold open: each turn in flight needs a connection, which is one."""

from __future__ import annotations

import resource
from collections.abc import Sequence
from itertools import accumulate

from suite.errors import RunError
from workloads.plan import Plan
from workloads.plan_parts import Conversation

RESERVED_FILES = 64  # of a worker beside its connections: Python, Locust, its log; measured: 22


class OpenFilesError(RunError):
    """The system lets the driver open too few files for the plan. One line."""


def raise_limit() -> None:
    """Raises it as far as this process may: the soft limit is often 1,024, the hard one a
    million."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_note() -> str:
    """Returns, for a message, what limit there is and what to do about it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"the driver may open no more than {soft:,} files; raise `ulimit -n` or use more workers"


def check_open_files(plan: Plan, *, num_workers: int, turn_timeout_s: float = float("inf")) -> None:
    """Checks that the turns which a worker has in flight at a time can have a connection each: of a
    closed loop its conversations, of an open one as many as a server causes that answers no more
    slowly than it promised. Raises OpenFilesError."""
    if plan.closed_concurrency is not None:
        concurrency = min(plan.closed_concurrency, len(plan.conversations))
        of_worker = -(-concurrency // num_workers)
        what = f"arrivals.concurrency {concurrency:,}"
    else:
        of_worker = max(
            peak_in_flight(plan, plan.conversations[worker::num_workers], turn_timeout_s)
            for worker in range(num_workers)
        )
        what = f"arrivals: if answers take as long as the SLO allows, {of_worker:,} turns at a time"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = of_worker + RESERVED_FILES
    if hard == resource.RLIM_INFINITY or not of_worker or needed <= hard:
        return
    raise OpenFilesError(
        f"{what}: a driver of {num_workers} would need {needed:,} open files, and may have "
        f"{hard:,}; raise it (ulimit -n {needed}), or use more workers (--workers)"
    )


def peak_in_flight(
    plan: Plan, conversations: Sequence[Conversation], turn_timeout_s: float = float("inf")
) -> int:
    """Returns how many turns of an open loop are in flight at a time at most, where each takes as
    long as its SLO allows, or its timeout does."""
    slo_of = {each.name: each.slo for each in plan.user_classes}
    changes: list[tuple[float, int]] = []  # (instant, turns that begin − that end); ends first
    for each in conversations:
        at, slo = each.start_at_s, slo_of[each.user_class]
        for number, turn in enumerate(each.turns):
            begin = at + (turn.think_time_s if number else 0.0)
            promised_s = slo.ttft_s + slo.tbt_s * max(0, turn.num_output_tokens - 1)
            at = begin + min(promised_s, turn_timeout_s)
            changes += [(begin, 1), (at, -1)]
    return max(accumulate(change for _, change in sorted(changes)), default=0)
