from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from workloads.arrivals import start_instants, think_times
from workloads.distributions import Stream
from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.spec_traffic import (
    ClosedArrivals,
    ConstantArrivals,
    ConstantThinkTime,
    ExponentialThinkTime,
    GammaArrivals,
    LognormalThinkTime,
    NoThinkTime,
    PoissonArrivals,
    TraceArrivals,
    TraceThinkTime,
)

TURN = TurnShape(num_new_prompt_tokens=3, num_output_tokens=2)


def shapes(num: int, num_turns: int = 1) -> list[ConversationShape]:
    return [ConversationShape(turns=(TURN,) * num_turns)] * num


def test_a_poisson_process_has_its_rate_and_is_not_clipped() -> None:
    rate, num = 5.0, 20_000
    starts = start_instants(PoissonArrivals(process="poisson", rate=rate), shapes(num), seed=3)
    gaps = np.diff(starts, prepend=0) / 1e6
    assert num / (starts[-1] / 1e6) == pytest.approx(rate, rel=0.02)  # four standard errors: 2.8 %
    assert gaps.std() / gaps.mean() == pytest.approx(1.0, abs=0.03)
    assert stats.kstest(gaps, "expon", args=(0, 1 / rate)).statistic < 0.012
    per_second = np.bincount((starts // 1_000_000).astype(np.int64))[:-1]
    assert per_second.var() / per_second.mean() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("cv", [0.5, 2.0])
def test_gamma_arrivals_have_the_rate_and_the_burstiness_asked_for(cv: float) -> None:
    arrivals = GammaArrivals(process="gamma", rate=2.0, cv=cv)
    gaps = np.diff(start_instants(arrivals, shapes(20_000), seed=3), prepend=0) / 1e6
    assert 1 / gaps.mean() == pytest.approx(2.0, rel=0.05)
    assert gaps.std() / gaps.mean() == pytest.approx(cv, rel=0.05)


def test_constant_arrivals_are_equally_spaced() -> None:
    starts = start_instants(ConstantArrivals(process="constant", rate=3.0), shapes(4), seed=3)
    assert starts.tolist() == [0, 333_333, 666_667, 1_000_000]


def test_closed_arrivals_have_no_instants() -> None:
    closed = ClosedArrivals(process="closed", concurrency=2)
    assert start_instants(closed, shapes(3), seed=3).tolist() == [0, 0, 0]


def test_trace_arrivals_begin_at_zero_and_are_scaled() -> None:
    known = [ConversationShape(turns=(TURN,), start_us=us) for us in (5_000_000, 5_500_001)]
    arrivals = TraceArrivals(process="trace", scale=0.5)
    assert start_instants(arrivals, known, seed=3).tolist() == [0, 250_000]


@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 60))
def test_more_conversations_leave_the_first_ones_where_they_were(
    seed: int, few: int, more: int
) -> None:
    arrivals = PoissonArrivals(process="poisson", rate=1.0)
    first = start_instants(arrivals, shapes(few), seed)
    longer = start_instants(arrivals, shapes(few + more), seed)
    assert longer[:few].tolist() == first.tolist()
    assert np.all(np.diff(longer) >= 0)


@pytest.mark.parametrize(
    ("think_time", "median"),
    [
        (LognormalThinkTime.model_construct(distribution="lognormal", median=2.0, sigma=1.0), 2.0),
        (ExponentialThinkTime.model_construct(distribution="exponential", mean=2.0), 1.386),
        (ConstantThinkTime.model_construct(distribution="constant", value=1.5), 1.5),
        (NoThinkTime(distribution="none"), 0.0),
    ],
)
def test_think_times_follow_their_distribution_and_spare_the_first_turn(
    think_time: LognormalThinkTime, median: float
) -> None:
    (shape,) = shapes(1, num_turns=8001)
    times = think_times(think_time, shape, Stream(1, "think"), Tally())
    assert times[0] == 0
    assert np.median(times[1:]) / 1e6 == pytest.approx(median, rel=0.05)


def test_trace_think_times_are_the_gaps_of_the_trace_and_counted() -> None:
    linked = TurnShape(num_new_prompt_tokens=3, num_output_tokens=2, gap_us=3_000_000)
    shape = ConversationShape(turns=(TURN, linked, linked))
    tally = Tally()
    spec = TraceThinkTime(distribution="trace", scale=0.5)
    assert think_times(spec, shape, Stream(1, "t"), tally).tolist() == [0, 1_500_000, 1_500_000]
    assert sum(tally.values()) == 2
