"""Rates that change with time, and workloads that say how long instead of how many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import SMALL, lengths, load_spec, small_plan, write_small
from workloads.arrivals import num_starting_within, start_instants
from workloads.errors import WorkloadError
from workloads.plan import Plan
from workloads.rate_profile import RateProfile, Stretch, rate_profile
from workloads.shapes import ConversationShape, TurnShape
from workloads.spec_traffic import (
    ConstantArrivals,
    GammaArrivals,
    PoissonArrivals,
    RampArrivals,
    Step,
    StepsArrivals,
)

SHAPE = ConversationShape(turns=(TurnShape(num_new_prompt_tokens=3, num_output_tokens=2),))
RATES = st.floats(0.0, 20.0).map(lambda rate: round(rate, 2))
POISSON = "arrivals={process: poisson, rate: 2.0}"
RARE = "arrivals={process: poisson, rate: 0.001}"
CLOSED = "arrivals={process: closed, concurrency: 2}"
FADING = "arrivals={process: ramp, from_rate: 4, to_rate: 0, over: 4s}"
FIXED = "source: fixed, turns: 1, prompt_tokens: 3, output_tokens: 2"


def steps(*pairs: tuple[float, float], cv: float = 1.0) -> StepsArrivals:
    each = [Step(rate=rate, duration=f"{duration:g}s") for rate, duration in pairs]  # type: ignore[arg-type]
    return StepsArrivals(process="steps", steps=each, cv=cv)


def ramp(low: float, high: float, over: float) -> RampArrivals:
    return RampArrivals(process="ramp", from_rate=low, to_rate=high, over=f"{over:g}s")  # type: ignore[arg-type]


def starts(arrivals: StepsArrivals | RampArrivals, num: int, seed: int = 3) -> np.ndarray:
    return start_instants(arrivals, [SHAPE] * num, seed) / 1e6


@given(
    stretches=st.lists(st.tuples(st.integers(1, 100), RATES, RATES), min_size=1, max_size=4),
    wanted=st.lists(st.floats(0, 5000), min_size=1, max_size=10),
)
def test_at_each_instant_as_many_have_come_as_the_rate_brings(
    stretches: list[tuple[int, float, float]], wanted: list[float]
) -> None:
    """The inverse, against the integral of the rate by the trapezium rule, stretch by stretch."""
    profile = RateProfile(tuple(Stretch(*each) for each in stretches))
    for num, at in zip(wanted, profile.instants(np.array(wanted)), strict=True):
        come, left = 0.0, at
        for duration, begin, end in stretches:
            inside = min(left, duration)
            if inside <= 0:
                break
            come += inside * (2 * begin + (end - begin) * inside / duration) / 2
            left -= inside
        if np.isinf(at):
            assert stretches[-1][2] == 0 and num >= sum(each.num for each in profile.stretches)
        else:
            come += max(0.0, left) * stretches[-1][2]
            assert come == pytest.approx(num, rel=1e-6, abs=1e-6)
            assert profile.num_within(float(at)) == pytest.approx(num, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize(
    "arrivals",
    [steps((1, 5), (1e6, 9e5)), ramp(0, 1e6, 9e5), ConstantArrivals(process="constant", rate=1e6)],
)
def test_far_too_many_are_refused_before_any_is_drawn(
    arrivals: StepsArrivals | RampArrivals | ConstantArrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("workloads.arrivals.Stream")
    with pytest.raises(WorkloadError, match="starts more than 100,000,000 conversations within"):
        num_starting_within(arrivals, 1e6, seed=1)


def test_steps_have_their_rates_and_the_last_one_stays() -> None:
    found = starts(steps((5, 400), (50, 100), (10, 100)), 10_000)
    for begin, end, rate in ((0, 400, 5), (400, 500, 50), (500, 600, 10), (600, 700, 10)):
        num = int(((found >= begin) & (found < end)).sum())
        assert num == pytest.approx((end - begin) * rate, abs=4 * ((end - begin) * rate) ** 0.5)
    inside = found[(found > 400) & (found < 500)]
    assert np.diff(inside).std() / np.diff(inside).mean() == pytest.approx(1.0, abs=0.08)


def test_burstiness_is_of_the_gaps_at_any_one_rate() -> None:
    found = starts(steps((20, 500), cv=3.0), 9_000)
    gaps = np.diff(found)
    assert gaps.std() / gaps.mean() == pytest.approx(3.0, rel=0.1)
    assert 1 / gaps.mean() == pytest.approx(20, rel=0.15)


def test_a_ramp_grows_evenly() -> None:
    found = starts(ramp(0, 40, 1000), 20_000)
    assert 0.24 < (found < 500).mean() < 0.26  # of a triangle, a quarter lies in the first half
    assert found[-1] == pytest.approx(1000, abs=20)


def test_a_pause_of_rate_0_brings_nobody() -> None:
    found = starts(steps((10, 10), (0, 30), (10, 10)), 150)
    assert not ((found > 10) & (found < 40)).any()
    assert (found > 40).any()


@given(rate=st.floats(0.5, 50), duration=st.integers(1, 100), seed=st.integers(0, 99))
def test_a_duration_takes_exactly_those_that_start_within_it(
    rate: float, duration: int, seed: int
) -> None:
    for arrivals in (
        PoissonArrivals(process="poisson", rate=rate),
        GammaArrivals(process="gamma", rate=rate, cv=1.5),
        ConstantArrivals(process="constant", rate=rate),
        steps((rate, duration / 2), (2 * rate, duration)),
    ):
        num = num_starting_within(arrivals, float(duration), seed)
        found = start_instants(arrivals, [SHAPE] * (num + 1), seed) / 1e6
        assert (found[:num] < duration).all() and found[num] >= duration


def test_a_plan_of_a_duration_begins_as_that_of_a_count(tmp_path: Path) -> None:
    plan = small_plan(
        tmp_path,
        f"conversations={{{FIXED}, duration: 30s}}",
        POISSON,
    )
    num = len(plan.conversations)
    assert 30 < num < 90 and plan.conversations[-1].start_at_s < 30
    same = f"conversations={{{FIXED}, count: {num}}}"
    assert small_plan(tmp_path, same, POISSON).digest == plan.digest


@pytest.mark.parametrize(
    "arrivals",
    [
        "{process: steps, steps: [{rate: 2, duration: 20s}, {rate: 8, duration: 10s}]}",
        "{process: ramp, from_rate: 1, to_rate: 6, over: 30s}",
    ],
)
def test_steps_and_ramps_say_themselves_how_long_they_take(tmp_path: Path, arrivals: str) -> None:
    plan = small_plan(tmp_path, f"conversations={{{FIXED}}}", f"arrivals={arrivals}")
    assert 25 < plan.conversations[-1].start_at_s < 30
    assert small_plan(tmp_path, f"conversations={{{FIXED}}}", f"arrivals={arrivals}").digest == (
        plan.digest
    )
    few = small_plan(tmp_path, f"conversations={{{FIXED}, count: 5}}", f"arrivals={arrivals}")
    assert len(few.conversations) == 5
    longer = small_plan(
        tmp_path, f"conversations={{{FIXED}, duration: 60s}}", f"arrivals={arrivals}"
    )
    assert 55 < longer.conversations[-1].start_at_s < 60


def test_a_trace_is_played_for_a_duration_of_its_own_instants(tmp_path: Path) -> None:
    rows = [f"{100 + at},5,6" for at in range(10)]
    (tmp_path / "a.csv").write_text("\n".join(["t_s,context_tokens,generated_tokens", *rows]))
    source = f"conversations={{trace: azure, path: {tmp_path}/a.csv, duration: 4s}}"
    for scale, num in ((1.0, 4), (0.5, 8), (2.0, 2)):
        plan = small_plan(tmp_path, source, f"arrivals={{process: trace, scale: {scale}}}")
        assert len(plan.conversations) == num
    with pytest.raises(WorkloadError, match=r"a.csv: the starts within conversations.duration of"):
        small_plan(tmp_path, source, "arrivals={process: constant, rate: 100}")


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (("conversations={source: sharegpt-like}",), "conversations.count is missing; write how"),
        (("conversations.duration=5m",), "conversations.duration can not stand beside count"),
        (
            (f"conversations={{{FIXED}, duration: 5m}}", CLOSED, "measure.warm_up=0.1"),
            "measure.warm_up can not stand with conversations.duration and arrivals.process closed",
        ),
        (("arrivals={process: steps, steps: []}",), "arrivals.steps must have 1 or more entries"),
        (
            ("arrivals={process: steps, steps: [{rate: 0, duration: 1s}]}",),
            "arrivals.steps must have a rate > 0 somewhere",
        ),
        (
            ("arrivals={process: steps, steps: [{rate: 1}]}",),
            "arrivals.steps.0.duration is missing; How long this rate holds",
        ),
        (
            ("arrivals={process: ramp, from_rate: 0, to_rate: 0, over: 1s}",),
            "arrivals.to_rate must be > 0 where from_rate is 0",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], problem: str
) -> None:
    with pytest.raises(WorkloadError) as caught:
        load_spec(write_small(tmp_path), overrides)
    assert problem in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (
            (f"conversations={{{FIXED}, duration: 1s}}", "arrivals={process: constant, rate: 1}"),
            None,
        ),
        (
            (
                f"conversations={{{FIXED}, duration: 1s}}",
                RARE,
            ),
            "conversations.duration: no conversation starts within 1s; lengthen it or raise",
        ),
        (
            (
                f"conversations={{{FIXED}, count: 99}}",
                FADING,
            ),
            "lower conversations.count or raise the rate",
        ),
    ],
)
def test_a_time_in_which_too_few_come_is_refused(
    tmp_path: Path, overrides: tuple[str, ...], problem: str | None
) -> None:
    if problem is None:
        assert len(lengths(small_plan(tmp_path, *overrides))) == 1
        return
    with pytest.raises(WorkloadError) as caught:
        small_plan(tmp_path, *overrides)
    assert problem in str(caught.value)


def test_a_rate_that_stays_has_no_profile() -> None:
    assert rate_profile(PoissonArrivals(process="poisson", rate=1.0)) is None
    assert SMALL.count("poisson") == 1


def test_a_closed_loop_that_ends_by_time_holds_a_stock_of_conversations(tmp_path: Path) -> None:
    """One a second for each that is held at a time, or as many as the file says; the time is part
    of the work, and of its file."""
    own = small_plan(tmp_path, f"conversations={{{FIXED}, duration: 5s}}", CLOSED)
    assert (len(own.conversations), own.closed_duration_s) == (10, 5.0)
    said = small_plan(tmp_path, f"conversations={{{FIXED}, duration: 5s, count: 7}}", CLOSED)
    assert (len(said.conversations), said.closed_duration_s) == (7, 5.0)
    longer = small_plan(tmp_path, f"conversations={{{FIXED}, duration: 6s, count: 7}}", CLOSED)
    whole = small_plan(tmp_path, f"conversations={{{FIXED}, count: 7}}", CLOSED)
    assert len({each.digest for each in (said, longer, whole)}) == 3
    said.write(tmp_path / "plan.parquet")
    again = Plan.read(tmp_path / "plan.parquet")
    assert (again.digest, again.closed_duration_s) == (said.digest, 5.0)
    opened = small_plan(
        tmp_path,
        f"conversations={{{FIXED}, duration: 5s}}",
        "arrivals={process: constant, rate: 1}",
    )
    assert opened.closed_duration_s is None  # those that started are played to their ends


def test_a_trace_may_hold_fewer_than_a_closed_loop_could_begin(tmp_path: Path) -> None:
    rows = [f"{second},10,5" for second in range(8)]
    (tmp_path / "a.csv").write_text("\n".join(["t_s,context_tokens,generated_tokens", *rows]))
    for more, num in (("", 8), (", count: 5", 5), (", count: 500", 8)):
        source = f"conversations={{trace: azure, path: {tmp_path}/a.csv, duration: 60s{more}}}"
        assert len(small_plan(tmp_path, source, CLOSED).conversations) == num


def test_a_closed_loop_of_more_conversations_than_a_plan_takes_is_refused(tmp_path: Path) -> None:
    many = "arrivals={process: closed, concurrency: 100000}"
    with pytest.raises(WorkloadError, match=r"holds 36,000,000,000 conversations ready") as caught:
        small_plan(tmp_path, f"conversations={{{FIXED}, duration: 100h}}", many)
    assert "\n" not in str(caught.value)
