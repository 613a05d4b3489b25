"""How turns missed: late first tokens, gaps, failures, by a twin that goes turn by turn."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import ceil
from pathlib import Path

import pytest

from suite.judging.metrics_file import measure
from suite.measuring.limits import limits_of
from suite.records.turn_records import TurnRecord
from suite.records.turn_records import read_turns as read_records
from suite.records.turn_table import read_turns
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run
from workloads.plan_parts import Slo


def attains(record: TurnRecord, slo: Slo) -> bool:
    if record.error is not None or not record.token_at:
        return False
    gaps = sorted(after - before for before, after in pairwise(record.token_at))
    rank = ceil(slo.tbt_percentile * len(gaps) - 1e-9)
    is_steady = not gaps or gaps[rank - 1] <= slo.tbt_s
    return is_steady and record.token_at[0] - record.scheduled_at <= slo.ttft_s


@pytest.mark.parametrize("behaviour", [FAST, SLOW, replace(SLOW, fail_ratio=0.3, ttft_s=2.0)])
def test_turns_that_missed_are_told_apart(tmp_path: Path, behaviour: object) -> None:
    plan = make_plan(num_conversations=24)
    run = write_run(tmp_path, {"mine": behaviour}, plan=plan, repeats=1)
    numbers = measure(run)["engines"]["mine"]
    found = limits_of(read_turns([(1, run / "mine" / "1")]), plan, numbers)
    slo = {each.name: each.slo for each in plan.user_classes}
    records = read_records(run / "mine" / "1" / "turns.parquet")
    missed = [each for each in records if not attains(each, slo[each.user_class])]
    failed = [each for each in missed if each.error is not None]
    late = [
        each
        for each in missed
        if each.error is None
        and each.token_at
        and each.token_at[0] - each.scheduled_at > slo[each.user_class].ttft_s
    ]
    assert found.num_missed == len(missed)
    if missed:
        assert found.failed_ratio == pytest.approx(len(failed) / len(missed))
        assert found.late_ratio == pytest.approx(len(late) / len(missed))
    shares = numbers["context_switch"]["latency_shares"]
    assert found.queueing_ratio == shares["queued_ratio"]
    assert found.preemption_ratio == pytest.approx(
        sum(shares[f"{state}_ratio"] for state in ("preempted", "swap_wait", "held", "stalled"))
    )
    assert found.is_driver_valid is True and found.is_pace_kept is None
