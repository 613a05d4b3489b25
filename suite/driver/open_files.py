"""How many files the driver may hold open: each turn in flight needs a connection, which is one."""

from __future__ import annotations

import resource

from suite.errors import RunError
from workloads.plan import Plan

RESERVED_FILES = 64  # of a worker beside its connections: Python, Locust, its log; measured: 22


class OpenFilesError(RunError):
    """The system lets the driver open too few files for the plan. One line."""


def raise_limit() -> None:
    """As far as this process may: the soft limit is often 1,024, the hard one a million."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def limit_note() -> str:
    """Returns, for a message, what limit there is and what to do about it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"the driver may open no more than {soft:,} files; raise `ulimit -n` or use more workers"


def check_open_files(plan: Plan, *, num_workers: int) -> None:
    """That the conversations a closed loop holds at a time can have a connection each. An open
    loop has as many at a time as the server lets wait: nobody knows before. Raises
    OpenFilesError."""
    concurrency = min(plan.closed_concurrency or 0, len(plan.conversations))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = -(-concurrency // num_workers) + RESERVED_FILES
    if hard == resource.RLIM_INFINITY or not concurrency or needed <= hard:
        return
    raise OpenFilesError(
        f"arrivals.concurrency {concurrency:,}: a driver of {num_workers} would need {needed:,} "
        f"open files, and may have {hard:,}; raise it (ulimit -n {needed}), or use more workers "
        "(--workers)"
    )
