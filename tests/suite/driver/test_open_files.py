from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
import pytest

from suite.driver.open_files import (
    RESERVED_FILES,
    OpenFilesError,
    check_open_files,
    raise_limit,
)
from tests.suite.driver.conftest import Played, ScriptedEngine
from workloads.plan import Plan


@contextmanager
def soft_limit(num_files: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (num_files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_turns_without_a_file_left_are_the_drivers_failures_and_say_so(
    engine: ScriptedEngine, make_plan: Callable[..., Plan], drive_in_process: Callable[..., Played]
) -> None:
    plan = make_plan(starts_at_s=(0.0,) * 60)
    with soft_limit(psutil.Process(os.getpid()).num_fds() + 30):
        records = drive_in_process(plan, engine.endpoint(first_after_s=0.5)).records
    failed = [record for record in records if record.error is not None]
    assert len(records) == 60
    assert 0 < len(failed) < 60
    for record in failed:
        assert record.error_source == "driver"
        assert "`ulimit -n`" in (record.error or "")


def test_a_closed_loop_is_checked_against_the_hard_limit_before_it_starts(
    make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    hard = RESERVED_FILES + 10
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, hard))
    check_open_files(make_plan(starts_at_s=(0.0,) * 30, closed_concurrency=10), num_workers=1)
    many = make_plan(starts_at_s=(0.0,) * 30, closed_concurrency=21)
    check_open_files(many, num_workers=3)
    with pytest.raises(OpenFilesError, match=rf"ulimit -n {RESERVED_FILES + 11}\b"):
        check_open_files(many, num_workers=2)
    check_open_files(make_plan(starts_at_s=(0.0,) * 30), num_workers=1)  # nobody knows
    check_open_files(make_plan(starts_at_s=(0.0,) * 3, closed_concurrency=99), num_workers=1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, resource.RLIM_INFINITY))
    check_open_files(many, num_workers=1)


def test_the_limit_is_raised_as_far_as_one_may() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with soft_limit(psutil.Process(os.getpid()).num_fds() + 30):
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
