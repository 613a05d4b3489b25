"""The loads of a quick look, and the command over a simulated engine."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from suite.cli import app
from suite.sweep.manifest import SweepManifest
from suite.sweep.quick_look import NUM_LOADS, Loads, is_saturated
from tests.suite.sweep.examples import ENGINE, write

TINY = {"engines": {"slow": {**ENGINE, "preset": "fastswitch", "max_num_seqs": 1}}}


def seen(first: float, capacity: float, *, is_whole: bool) -> Loads:
    loads = Loads(first, is_whole=is_whole)
    for load in loads:
        loads.tell(is_saturated=load > capacity)
    return loads


@given(st.floats(0.01, 100), st.floats(0.01, 10_000))
def test_loads_are_doubled_until_one_is_too_much_and_the_rest_lies_before_it(
    first: float, capacity: float
) -> None:
    loads = seen(first, capacity, is_whole=False)
    doubled = [first * 2**k for k in range(NUM_LOADS)]
    num_doubled = sum(each in doubled for each in loads.seen)
    assert loads.seen[:num_doubled] == doubled[:num_doubled]
    if first > capacity:
        assert loads.seen[1:2] == [first / 2] and loads.saturated is not None
        assert loads.saturated / 2 <= capacity or loads.seen[-1] == first / 2 ** (NUM_LOADS - 1)
    elif doubled[-1] <= capacity:
        assert loads.seen == doubled and loads.saturated is None
    else:
        assert len(loads.seen) == NUM_LOADS and loads.saturated is not None
        assert loads.saturated / 2 <= capacity < loads.saturated
        rest = [loads.saturated / 2, *loads.seen[num_doubled:], loads.saturated]
        ratios = [high / low for low, high in pairwise(rest)]
        assert ratios == pytest.approx([2 ** (1 / len(ratios))] * len(ratios), rel=0.01)


@given(st.integers(1, 200))
def test_of_conversations_at_a_time_only_whole_numbers_are_tried_and_none_twice(
    capacity: int,
) -> None:
    loads = seen(1.0, capacity, is_whole=True)
    assert all(load == round(load) for load in loads.seen)
    assert len(set(loads.seen)) == len(loads.seen) <= NUM_LOADS
    assert loads.seen[0] == 1


@pytest.mark.parametrize(
    ("shares", "overloaded", "answer"),
    [
        ((0.9, 0.9), (False, False), False),
        ((0.4, 0.9), (False, False), False),
        ((0.4, 0.9), (False, True), True),
        ((0.4, 0.3), (False, False), True),
    ],
)
def test_there_is_more_to_see_while_one_engine_has_something_left(
    shares: tuple[float, ...], overloaded: tuple[bool, ...], answer: bool
) -> None:
    engines = {
        str(number): {
            "slo": {"users_within_slo_ratio": share},
            "steady_state": {"is_overloaded": is_overloaded},
        }
        for number, (share, is_overloaded) in enumerate(zip(shares, overloaded, strict=True))
    }
    assert is_saturated(engines) is answer


@pytest.mark.parametrize(
    ("arrivals", "key"),
    [
        ({"process": "poisson", "rate": 2.0}, "arrivals.rate"),
        ({"process": "closed", "concurrency": 2}, "arrivals.concurrency"),
    ],
)
def test_the_command_goes_from_one_user_to_saturation_and_shows_a_page(
    tmp_path: Path, arrivals: dict[str, object], key: str
) -> None:
    path = write(tmp_path, **TINY, arrivals=arrivals, baseline=None, gates=["counts.failed <= 0"])
    told = CliRunner().invoke(app, ["run", str(path), "--sweep", "--out", str(tmp_path / "runs")])
    assert told.exit_code == 0, told.output
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "report.html").exists() and (folder / "alone" / "metrics.json").exists()
    manifest = SweepManifest.read(folder)
    values = [cell.values[key] for cell in manifest.cells]
    assert values == sorted(values) and 2 <= len(values) <= NUM_LOADS
    shares = [row["users_within_slo_ratio"] for row in manifest.rows]
    assert shares[0] >= 0.5 > shares[-1]


def test_what_has_no_load_to_vary_or_brings_its_own_is_refused(tmp_path: Path) -> None:
    path = str(write(tmp_path, **TINY, baseline=None))
    told = CliRunner().invoke(app, ["run", path, "--sweep", "--solo"])
    assert "--solo can not stand beside --sweep" in str(told.exception)
    steps = {"process": "steps", "steps": [{"rate": 1.0, "duration": "10s"}]}
    path = str(write(tmp_path, **TINY, baseline=None, arrivals=steps))
    told = CliRunner().invoke(app, ["run", path, "--sweep"])
    assert "arrivals.process must be poisson, gamma, constant or closed" in str(told.exception)
