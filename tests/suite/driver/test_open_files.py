from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.driver.open_files import (
    RESERVED_FILES,
    OpenFilesError,
    check_open_files,
    peak_in_flight,
    raise_limit,
)
from tests.suite.driver.conftest import Played, ScriptedEngine
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass


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
    check_open_files(make_plan(starts_at_s=(0.0,) * 3, closed_concurrency=99), num_workers=1)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, resource.RLIM_INFINITY))
    check_open_files(many, num_workers=1)


def test_an_open_loop_is_checked_by_what_its_slo_allows(
    make_plan: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty at once, and thirty so far apart that each has long ended when the next begins."""
    at_once = make_plan(starts_at_s=(0.0,) * 30)
    apart = make_plan(starts_at_s=tuple(1000.0 * number for number in range(30)))
    assert peak_in_flight(at_once, at_once.conversations) == 30
    assert peak_in_flight(apart, apart.conversations) == 1
    monkeypatch.setattr(resource, "getrlimit", lambda _: (32, RESERVED_FILES + 10))
    check_open_files(apart, num_workers=1)
    check_open_files(at_once, num_workers=3)
    with pytest.raises(
        OpenFilesError, match=rf"30 turns at a time: .*ulimit -n {RESERVED_FILES + 30}"
    ):
        check_open_files(at_once, num_workers=1)


@given(
    st.lists(
        st.tuples(st.integers(0, 20), st.lists(st.integers(1, 9), min_size=1, max_size=3)),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 6),
)
def test_the_peak_is_that_of_counting_at_every_instant(
    starts: list[tuple[int, list[int]]], timeout_s: int
) -> None:
    """A first token within 2 s, then one a second; thoughts of 3 s; instants are whole."""
    slo = Slo(ttft_s=2.0, tbt_s=1.0, tbt_percentile=0.99, attainment_ratio=1.0)
    plan = Plan(
        name="peak",
        seed=0,
        closed_concurrency=None,
        priorities=None,
        user_classes=(UserClass(name="all", share_ratio=1.0, slo=slo),),
        conversations=tuple(
            Conversation(
                conversation_id=str(number),
                user_id=str(number),
                user_class="all",
                start_at_s=float(start),
                turns=tuple(
                    Turn(
                        new_prompt_token_ids=np.arange(2, dtype=np.int32),
                        prompt_text=None,
                        num_output_tokens=tokens,
                        think_time_s=3.0,
                    )
                    for tokens in answers
                ),
            )
            for number, (start, answers) in enumerate(starts)
        ),
    )
    in_flight = [0] * 200
    for start, answers in starts:
        at = start - 3
        for tokens in answers:
            at += 3
            for second in range(at, at + min(tokens + 1, timeout_s)):
                in_flight[second] += 1
            at += min(tokens + 1, timeout_s)
    # The first turn comes at once; the thought before it does not count.
    assert peak_in_flight(plan, plan.conversations, float(timeout_s)) == max(in_flight)


def test_the_limit_is_raised_as_far_as_one_may() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with soft_limit(psutil.Process(os.getpid()).num_fds() + 30):
        raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
