"""Modelled time that real time keeps pace with: on a real clock that a test moves."""

from __future__ import annotations

import pytest

from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.step_log import StepRecord
from engines.simulated.paced_engine import MAX_CARRIED_S, PacedClock, PacedEngine
from engines.simulated.virtual_engine import modelled_device
from tests.suite.virtual.test_player import settings_of


class RealTime:
    """`overshoot_s`: how much too long each sleep is."""

    def __init__(self, overshoot_s: float = 0.0) -> None:
        self.now = 100.0
        self.slept_s: list[float] = []
        self._overshoot_s = overshoot_s

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now += seconds + self._overshoot_s


def test_python_s_own_time_is_slept_less_and_sleeps_too_long_do_not_add_up() -> None:
    real = RealTime(overshoot_s=2**-10)  # about a millisecond, less than MAX_CARRIED_S
    clock = PacedClock(real, real.sleep)
    for step in range(1, 5):
        real.now += 0.125  # bookkeeping: modelled time stands still
        assert clock.now() == 100.0 + step - 1
        clock.advance_to(100.0 + step)
    assert real.slept_s == [0.875, *[0.875 - 2**-10] * 3]
    assert (real.now, clock.max_lag_s) == (104.0 + 2**-10, 2**-10)


def test_what_took_longer_than_modelled_has_passed_and_is_noted() -> None:
    real = RealTime()
    clock = PacedClock(real, real.sleep)
    real.now = 102.5
    clock.advance_to(101.0)
    assert (real.slept_s, clock.take_missed_s()) == ([], 1.5)
    assert clock.now() == 102.5 - MAX_CARRIED_S
    clock.advance_to(clock.now() + 1.0)  # a whole step, but for what may be made up for
    assert real.now == 103.5 - MAX_CARRIED_S
    assert (clock.take_missed_s(), clock.max_lag_s) == (0.0, 1.5)


def test_each_step_says_by_how_much_the_pace_was_missed_since_the_last() -> None:
    real = RealTime()
    clock = PacedClock(real, real.sleep)
    settings = settings_of()
    device = modelled_device(settings, settings.loaded_profile(), clock)
    rows: list[StepRecord] = []
    engine = PacedEngine(settings.core(), device, clock=clock, on_step=rows.append)
    sampling = SamplingParams(max_tokens=3, ignore_eos=True)
    engine.submit(
        Request(request_id="a", prompt_token_ids=[1], sampling=sampling, arrived_at=real.now)
    )
    for stands_still_s in (0.0, 5.0, 0.0):
        real.now += stands_still_s
        engine.step()
    assert [row.pace_missed_s for row in rows] == [0.0, pytest.approx(5.0, abs=0.1), 0.0]


def test_idle_time_passes_and_a_request_is_never_later_than_the_clock() -> None:
    real = RealTime()
    clock = PacedClock(real, real.sleep)
    settings = settings_of()
    device = modelled_device(settings, settings.loaded_profile(), clock)
    engine = PacedEngine(settings.core(), device, clock=clock)

    def request(name: str) -> Request:
        sampling = SamplingParams(max_tokens=2, ignore_eos=True)
        return Request(
            request_id=name, prompt_token_ids=[1] * 9, sampling=sampling, arrived_at=real.now
        )

    real.now = 150.0
    engine.submit(request("first"))
    assert clock.now() == 150.0
    real.now = 151.0  # Python takes a second, which the profile does not
    late = request("late")
    engine.submit(late)
    assert late.arrived_at == 150.0
    while engine.has_work:
        engine.step()
    assert 151.0 - MAX_CARRIED_S < clock.now() < 152.0
    real.now = 160.0
    engine.poll()
    assert clock.now() == 160.0
