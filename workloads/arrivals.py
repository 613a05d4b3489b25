"""When conversations start, and how long users think between an answer and their next turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workloads.distributions import (
    Floats,
    Ints,
    Stream,
    exponential,
    gamma,
    lognormal,
    to_microseconds,
)
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
    ThinkTimeSpec,
    TraceArrivals,
    TraceThinkTime,
)

TRACE_GAPS = "pauses taken from the trace (they may hold the previous answer's own time)"


def start_instants(arrivals: ArrivalsSpec, shapes: Sequence[ConversationShape], seed: int) -> Ints:
    """Returns microseconds after the run's start, shape [num_conversations], never falling.

    They are all zero in closed mode, where only the order counts.
    """
    num = len(shapes)
    match arrivals:
        case ClosedArrivals():
            return np.zeros(num, dtype=np.int64)
        case ConstantArrivals(rate=rate):
            return to_microseconds(np.arange(num) / rate)
        case TraceArrivals(scale=scale):
            known = np.array([shape.start_us or 0 for shape in shapes], dtype=np.float64)
            return np.asarray(np.rint((known - known[0]) * scale), dtype=np.int64)
        case PoissonArrivals(rate=rate):
            gaps = exponential(Stream(seed, "arrivals").uniforms(num), 1.0 / rate)
        case GammaArrivals(rate=rate, cv=cv):
            gaps = gamma(Stream(seed, "arrivals").uniforms(num), 1.0 / rate, cv)
    # Each gap is rounded by itself, so that the sum is exact; half a microsecond is no bias.
    return np.cumsum(to_microseconds(gaps))


def think_times(
    think_time: ThinkTimeSpec, shape: ConversationShape, stream: Stream, tally: Tally
) -> Ints:
    """Returns microseconds before each turn, shape [num_turns]; 0 before the first."""
    times = np.zeros(len(shape.turns), dtype=np.int64)
    if isinstance(think_time, TraceThinkTime):
        gaps = [turn.gap_us or 0 for turn in shape.turns[1:]]
        tally[TRACE_GAPS] += len(gaps)
        times[1:] = np.rint(np.array(gaps, dtype=np.float64) * think_time.scale)
    else:
        times[1:] = to_microseconds(_drawn(think_time, stream.uniforms(len(times) - 1)))
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
