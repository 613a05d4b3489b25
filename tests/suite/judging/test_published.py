"""Published figures: what a workload may cite, and which way a factor goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from suite.judging.catalogue.table import Metric
from suite.judging.published import times_better
from suite.judging.ratios import Ratio
from suite.playing.workload import load_workload
from suite.statistics.quantiles import Interval
from tests.end_to_end.command import workload
from workloads.errors import WorkloadError

CITED = {
    "source": "a paper",
    "metrics": ["ttft.p99"],
    "times_better": {"low": 1.4, "high": 5.8},
    "engine": "new",
}
ENGINE = workload()["engines"]["small"]


def load(folder: Path, **changes: Any) -> None:
    spec = workload(
        engines={"old": ENGINE, "new": ENGINE}, baseline="old", references=[{**CITED, **changes}]
    )
    path = folder / "w.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    load_workload(path)


def test_a_reference_is_read(tmp_path: Path) -> None:
    load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"metrics": ["ttft.p98"]}, "references.0.metrics: metric 'ttft.p98' is unknown; did you"),
        ({"engine": "best"}, "references.0.engine must be one of the engines old, new, got 'best'"),
        ({"engine": "old"}, "references.0 holds engine 'old' against itself"),
        ({"times_better": {}}, "references.0.times_better.low or high must be given"),
        ({"times_better": {"low": 3.0, "high": 2.0}}, "references.0.times_better.low must be <="),
        ({"times_better": {"high": 0.0}}, "references.0.times_better.high must be > 0"),
        ({"sourse": "x"}, "references.0.sourse is unknown; did you mean source?"),
    ],
)
def test_what_can_not_be_cited_is_refused(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(WorkloadError) as error:
        load(tmp_path, **changes)
    assert said in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("metric", "ratio", "interval", "factor", "ends"),
    [
        ("ttft.p99", 0.25, (0.2, 0.5), 4.0, (2.0, 5.0)),
        ("throughput.output_tokens_per_s", 1.5, (1.2, 1.6), 1.5, (1.2, 1.6)),
        ("ttft.p99", 0.25, (None, 0.5), 4.0, (2.0, None)),
        ("ttft.p99", 0.25, (0.0, 0.5), 4.0, (2.0, None)),
    ],
)
def test_above_one_is_better_whichever_way_the_metric_goes(
    metric: str, ratio: float, interval: tuple[Any, Any], factor: float, ends: tuple[Any, Any]
) -> None:
    within = Interval(low=interval[0], high=interval[1])
    found, found_ends, reason = times_better(Metric(metric), Ratio(value=ratio, interval=within))
    assert (found, reason) == (factor, "")
    assert found_ends is not None and (found_ends.low, found_ends.high) == ends


def test_no_factor_comes_with_its_reason() -> None:
    metric = Metric("ttft.p99")
    assert times_better(metric, Ratio(value=None, reason="too few")) == (None, None, "too few")
    assert "0" in times_better(metric, Ratio(value=0.0))[2]
