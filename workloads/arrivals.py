"""When conversations start, and how long users think between an answer and their next turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workloads.bounds import MAX_CONVERSATIONS, MAX_SECONDS
from workloads.distributions import (
    Floats,
    Ints,
    Stream,
    exponential,
    gamma,
    lognormal,
    to_microseconds,
)
from workloads.errors import WorkloadError
from workloads.rate_profile import rate_profile
from workloads.shapes import ConversationShape, Tally
from workloads.spec_traffic import (
    ArrivalsSpec,
    ClosedArrivals,
    ConstantArrivals,
    ConstantThinkTime,
    ExponentialThinkTime,
    GammaArrivals,
    LognormalThinkTime,
    NoThinkTime,
    PoissonArrivals,
    RampArrivals,
    StepsArrivals,
    ThinkTimeSpec,
    TraceArrivals,
    TraceThinkTime,
)
from workloads.units import duration_text

RatedArrivals = PoissonArrivals | GammaArrivals | ConstantArrivals | StepsArrivals | RampArrivals
TOO_DENSE = (
    "conversations start at the trace's own instants, under a millisecond apart (median): its "
    "timestamps may be in another unit; arrivals.scale multiplies them"
)
MANY_STARTS, DENSE_US = 20, 1000
HOPELESS = 1.2  # times the most: drawing would only take long to say so
TRACE_GAPS = "pauses taken from the trace (they may hold the previous answer's own time)"


def start_instants(
    arrivals: ArrivalsSpec,
    shapes: Sequence[ConversationShape],
    seed: int,
    tally: Tally | None = None,
) -> Ints:
    """Returns microseconds after the run's start, shape [num_conversations], never falling.

    They are all zero in closed mode, where only the order counts. Raises WorkloadError.
    """
    if isinstance(arrivals, ClosedArrivals):
        return np.zeros(len(shapes), dtype=np.int64)
    if not isinstance(arrivals, TraceArrivals):
        return _planned_starts(arrivals, len(shapes), seed)
    if any(shape.start_us is None for shape in shapes):
        raise WorkloadError(
            "arrivals.process trace needs an instant for each conversation of the trace (start_s), "
            "which some have not"
        )
    known = np.array([shape.start_us for shape in shapes], dtype=np.float64)
    starts = _whole((known - known[0]) * arrivals.scale, "arrivals.scale")
    if tally is not None and _is_dense(starts):
        tally[TOO_DENSE] = len(starts)
    return starts


def _is_dense(starts: Ints) -> bool:
    """Tells whether instants seem to be in another unit; those of coarse clocks, which are often
    equal, are not."""
    gaps = np.diff(starts)
    gaps = gaps[gaps > 0]
    return len(gaps) >= MANY_STARTS and float(np.median(gaps)) < DENSE_US


def num_starting_within(arrivals: RatedArrivals, duration_s: float, seed: int) -> int:
    """Returns how many conversations start before this time. Raises WorkloadError."""
    until_us, num = round(duration_s * 1e6), 256
    too_many = WorkloadError(
        f"arrivals.process {arrivals.process} starts more than {MAX_CONVERSATIONS:,} "
        f"conversations within {duration_text(duration_s)}; shorten it or lower the rate"
    )
    if _mean_number(arrivals, duration_s) > HOPELESS * MAX_CONVERSATIONS:
        raise too_many
    while True:
        starts = _planned_starts(arrivals, num, seed, may_end=True)
        if len(starts) < num or starts[-1] >= until_us:
            return int(np.searchsorted(starts, until_us, side="left"))
        if num > MAX_CONVERSATIONS:
            raise too_many
        num *= 2


def _mean_number(arrivals: RatedArrivals, duration_s: float) -> float:
    if isinstance(arrivals, StepsArrivals | RampArrivals):
        profile = rate_profile(arrivals)
        assert profile is not None, arrivals
        return profile.num_within(duration_s)
    return arrivals.rate * duration_s


def _planned_starts(arrivals: RatedArrivals, num: int, seed: int, *, may_end: bool = False) -> Ints:
    """Returns the first `num` starts; with `may_end` fewer, where no more ever come."""
    uniforms = Stream(seed, "arrivals").uniforms(num)
    match arrivals:
        case ConstantArrivals(rate=rate):
            seconds = np.arange(num) / rate
            return to_microseconds(seconds[: _num_near(seconds, "arrivals.rate", may_end)])
        case StepsArrivals() | RampArrivals():
            seconds = _changing_starts(arrivals, uniforms)
            key = f"arrivals.process {arrivals.process}"
            return to_microseconds(seconds[: _num_near(seconds, key, may_end)])
        case PoissonArrivals(rate=rate):
            gaps = exponential(uniforms, 1.0 / rate)
        case GammaArrivals(rate=rate, cv=cv):
            gaps = gamma(uniforms, 1.0 / rate, cv)
    # Each gap is rounded by itself, so that the sum is exact; half a microsecond is no bias.
    near = _num_near(np.cumsum(gaps), "arrivals.rate", may_end)
    return np.cumsum(to_microseconds(gaps[:near]))


def _changing_starts(arrivals: StepsArrivals | RampArrivals, uniforms: Floats) -> Floats:
    """Returns starts at a rate that changes, in seconds: those of a steady process of rate 1, each
    at the time by which the planned rate brings as many; infinite where it never does."""
    profile = rate_profile(arrivals)
    assert profile is not None, arrivals
    gaps = exponential(uniforms, 1.0) if arrivals.cv == 1 else gamma(uniforms, 1.0, arrivals.cv)
    # Rounded by themselves as above; the inverse is of exact operations, alike on any machine.
    return profile.instants(np.cumsum(np.rint(gaps * 1e9).astype(np.int64)) / 1e9)


def _num_near(seconds: Floats, key: str, may_end: bool) -> int:
    """Counts the times, in their order, that somebody might wait for. Raises WorkloadError where
    those are not all, unless there `may_end` be fewer."""
    near = int(np.searchsorted(seconds, MAX_SECONDS, side="right"))
    if near < len(seconds) and not may_end:
        raise WorkloadError(
            f"{key}: no more than {near:,} of {len(seconds):,} conversations start within "
            f"{duration_text(MAX_SECONDS)}; lower conversations.count or raise the rate"
        )
    return near


def _whole(microseconds: Floats, key: str) -> Ints:
    """Returns whole microseconds. Raises WorkloadError for times that nobody waits for."""
    longest = float(microseconds.max(initial=0.0)) / 1e6
    if longest > MAX_SECONDS:
        raise WorkloadError(
            f"{key} leads to {longest:.4g} s; more than {duration_text(MAX_SECONDS)} is refused"
        )
    return np.rint(microseconds).astype(np.int64)


def think_times(
    think_time: ThinkTimeSpec,
    shape: ConversationShape,
    stream: Stream,
    tally: Tally,
    *,
    is_branch: bool = False,
) -> Ints:
    """Returns microseconds before each turn, shape [num_turns]; 0 before the first, unless it is a
    branch's. A turn that has a delay of its own, such as a tool's, has no other. Raises
    WorkloadError."""
    times = np.zeros(len(shape.turns), dtype=np.int64)
    begin = 0 if is_branch else 1
    later = shape.turns[begin:]
    if isinstance(think_time, TraceThinkTime):
        gaps = [turn.gap_us or 0 for turn in later]
        tally[TRACE_GAPS] += sum(turn.delay_us is None for turn in later)
        thought = np.array(gaps, dtype=np.float64) * think_time.scale
        times[begin:] = _whole(thought, "think_time.scale")
    else:
        times[begin:] = _whole(_drawn(think_time, stream.uniforms(len(later))) * 1e6, "think_time")
    for number, turn in enumerate(later, start=begin):
        if turn.delay_us is not None:
            times[number] = turn.delay_us
    return times


def _drawn(
    think_time: NoThinkTime | ConstantThinkTime | LognormalThinkTime | ExponentialThinkTime,
    uniforms: Floats,
) -> Floats:
    match think_time:
        case NoThinkTime():
            return np.zeros_like(uniforms)
        case ConstantThinkTime(value=value):
            return np.full_like(uniforms, value)
        case LognormalThinkTime(median=median, sigma=sigma, max=maximum):
            return lognormal(uniforms, median, sigma, maximum)
        case ExponentialThinkTime(mean=mean, max=maximum):
            return exponential(uniforms, mean, maximum)
