from __future__ import annotations

import pytest

from suite.driver.early_stop import EarlyStop, StopRule
from suite.records.progress import Progress


def progress(num_done: int, num_failed: int) -> Progress:
    return Progress(
        num_planned=1000,
        num_done=num_done,
        num_failed=num_failed,
        num_in_flight=0,
        num_output_tokens=0,
        elapsed_s=1.0,
        ttft_p99_s=None,
    )


def reasons(rule: StopRule | None, *seen: tuple[int, int]) -> list[str | None]:
    early = EarlyStop(rule)
    return [early.reason(progress(*each), "401 Unauthorized") for each in seen]


FIRST = StopRule(error_ratio=0.5, after=20, is_throughout=False)


def test_a_run_whose_first_turns_fail_ends_with_the_reason() -> None:
    before, now = reasons(FIRST, (19, 19), (21, 11))
    assert before is None
    assert now == (
        "11 of the first 21 turns failed (stop: error_ratio 0.5 after 20), "
        "the first with: 401 Unauthorized"
    )


def test_only_the_first_turns_are_looked_at_unless_asked() -> None:
    seen = [(20, 9), (100, 90)]
    assert reasons(FIRST, *seen) == [None, None]
    throughout = StopRule(error_ratio=0.5, after=20, is_throughout=True)
    assert reasons(throughout, *seen)[0] is None
    assert "90 of the first 100 turns failed" in (reasons(throughout, *seen)[1] or "")


@pytest.mark.parametrize("seen", [(20, 20), (1000, 1000)])
def test_no_rule_stops_nothing(seen: tuple[int, int]) -> None:
    assert reasons(None, seen) == [None]
