"""Tails over time are of the turns that were due then, and the rate below is the planned one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reports.drawing.palette import looks
from reports.pages.run import write_report
from reports.sections.changing_rate import changing_view, over_time
from suite.measuring.latencies import per_turn
from suite.records.turn_table import read_turns
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run
from workloads.rate_profile import RateProfile, Stretch

STEPS = {
    "process": "steps",
    "cv": 1.0,
    "steps": [{"rate": 0.5, "duration": "30s"}, {"rate": 2.0, "duration": "30s"}],
}


def test_each_stretch_has_the_tail_of_its_own_turns(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"fast": FAST}, plan=make_plan(num_conversations=300), repeats=2)
    turns = read_turns([(repeat, run / "fast" / str(repeat)) for repeat in (1, 2)])
    view = changing_view(turns, num_repeats=2)
    assert view is not None
    course = view.courses["ttft_s"]
    assert 4 <= len(course.at) <= 40
    ttft_s, good = per_turn(turns, "ttft_s"), ~turns.has_failed
    for k, middle in enumerate(course.at):
        begin, end = middle - view.stretch_s / 2, middle + view.stretch_s / 2
        mine = sorted(
            value
            for at, value, is_good in zip(turns.scheduled_at, ttft_s, good, strict=True)
            if is_good and (begin <= at < end or (at == end and k == len(course.at) - 1))
        )
        assert course.num_turns[k] == len(mine)
        if len(mine) >= 20:
            assert course.tail[k] == mine[-(-95 * len(mine) // 100) - 1]
        else:
            assert np.isnan(course.tail[k])
    assert course.num_turns.sum() == good.sum()


def test_the_rate_is_drawn_below_on_the_same_time(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"fast": FAST}, repeats=1)
    view = changing_view(read_turns([(1, run / "fast" / "1")]), num_repeats=1)
    assert view is not None
    profile = RateProfile((Stretch(10, 1, 1), Stretch(5, 1, 4)))
    figure = over_time({"fast": view.courses["tbt_s"]}, looks(["fast"]), profile, "t")
    *_, rate = figure.data
    assert list(zip(rate.x, rate.y, strict=True)) == [(0, 1), (10, 1), (10, 1), (15, 4), (15, 0)]
    assert rate.yaxis == "y2"
    assert figure.layout.xaxis.range[1] == pytest.approx(
        view.courses["tbt_s"].at[-1] + view.stretch_s / 2
    )


@pytest.mark.parametrize("arrivals", [STEPS, {"process": "poisson", "rate": 1.0}, None])
def test_the_page_shows_it_where_the_rate_changes(
    tmp_path: Path, arrivals: dict[str, object] | None
) -> None:
    run = write_run(tmp_path, {"fast": FAST, "slow": SLOW})
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["workload"]["arrivals"] = arrivals
    (run / "manifest.json").write_text(json.dumps(manifest))
    page = write_report(run).read_text()
    assert ("Tails while the rate changes" in page) == (arrivals is STEPS)
