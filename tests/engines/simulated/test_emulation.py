"""Modelled time that real time keeps pace with: on a real clock that a test moves."""

from __future__ import annotations

from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.simulated.emulation import EmulatedEngine, PacedClock
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
    real = RealTime(overshoot_s=0.25)
    clock = PacedClock(real, real.sleep)
    for step in range(1, 5):
        real.now += 0.125  # bookkeeping: modelled time stands still
        assert clock.now() == 100.0 + step - 1
        clock.advance_to(100.0 + step)
    assert real.slept_s == [0.875, 0.625, 0.625, 0.625]
    assert (real.now, clock.max_lag_s) == (104.25, 0.25)


def test_what_took_longer_than_modelled_is_caught_up() -> None:
    real = RealTime()
    clock = PacedClock(real, real.sleep)
    real.now = 102.5
    clock.advance_to(101.0)
    clock.advance_to(102.0)
    assert (real.slept_s, clock.max_lag_s) == ([], 1.5)
    clock.advance_to(103.0)
    assert (real.slept_s, clock.now()) == ([0.5], 103.0)


def test_idle_time_passes_and_a_request_is_never_later_than_the_clock() -> None:
    real = RealTime()
    clock = PacedClock(real, real.sleep)
    settings = settings_of()
    device = modelled_device(settings, settings.loaded_profile(), clock)
    engine = EmulatedEngine(settings.core(), device, clock=clock)

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
    assert 150.0 < clock.now() < 151.0
    real.now = 160.0
    engine.poll()
    assert clock.now() == 160.0
