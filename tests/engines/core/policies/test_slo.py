"""`slo`: who is wanted when, who yields to whom, and how much prefill a step may hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.policies.answer_lengths import PRIOR, AnswerLengths
from engines.core.policies.promises import Promises
from engines.core.policies.slo import SloAware
from engines.core.request import Phase, Request
from engines.core.sampling_params import SamplingParams
from engines.core.step_costs import StepCosts
from engines.terms import Slo, Terms

SLO = Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.9, max_gap_s=2.0)
STEP_S = 0.1


class Scene:
    """A policy without an engine: a test says who holds, who got a token and what time it is."""

    def __init__(self, **settings: float) -> None:
        self.costs = StepCosts()
        self.costs.step_s = STEP_S
        numbers = {"max_wait_s": 60.0, "quantum": 4, "margin_s": 0.25, "exchange": 0.5}
        self.policy = SloAware(self.costs, default=SLO, renew_every=1, **{**numbers, **settings})
        self.live: list[Request] = []
        self.now = 0.0

    def ask(self, num_prompt: int = 100, slo: Slo = SLO) -> Request:
        request = Request(
            request_id=f"r{len(self.live)}",
            prompt_token_ids=[1] * num_prompt,
            sampling=SamplingParams(max_tokens=1000, ignore_eos=True),
            arrived_at=self.now,
            terms=Terms(slo=slo),
        )
        self.live.append(request)
        self.policy.submitted(request, self.now)
        return request

    def hold(self, request: Request) -> None:
        request.device_blocks = [0]
        request.phase = Phase.RUNNING

    def pause(self, request: Request) -> None:
        request.device_blocks = []
        request.phase = Phase.SWAPPED

    def step(self, *decoded: Request, seconds: float = STEP_S) -> None:
        self.now += seconds
        for request in decoded:
            request.output_token_ids.append(1)
            request.num_computed = request.num_tokens - 1
        self.policy.served(list(decoded), [], self.now)
        self.policy.renew(self.live, self.now)

    def displaces(self, newcomer: Request, holder: Request) -> bool:
        return self.policy.presses(newcomer) and self.policy.may_displace(newcomer, holder)


def decoding(scene: Scene, num_tokens: int, num_prompt: int = 100, slo: Slo = SLO) -> Request:
    request = scene.ask(num_prompt, slo)
    scene.hold(request)
    for _ in range(num_tokens):
        scene.step(request)
    return request


def test_who_can_wait_displaces_nobody_until_its_last_instant_has_come() -> None:
    scene = Scene()
    holder = decoding(scene, 12)  # 11 gaps, of which a tenth may be late: it has earned a pause
    newcomer = scene.ask()
    assert not scene.displaces(newcomer, holder)
    scene.step(holder, seconds=0.6)
    assert not scene.displaces(newcomer, holder)  # wanted at 1.0 less a step of 0.1, less 0.25
    scene.step(holder, seconds=0.1)
    assert scene.displaces(newcomer, holder)


def test_what_is_left_to_compute_and_to_bring_in_counts() -> None:
    scene = Scene()
    scene.costs.prefill_token_s = 0.005
    holder = decoding(scene, 12)
    assert scene.displaces(scene.ask(num_prompt=131), holder)  # 0.655 + 0.1 + 0.25 > 1
    assert not scene.displaces(scene.ask(num_prompt=100), holder)


def test_a_pause_that_may_not_be_forgiven_is_for_much_smaller_newcomers_alone() -> None:
    """A holder loses by a pause where its answer ends before a tenth gap, as half of those did."""
    scene = Scene()
    holder = decoding(scene, 4, num_prompt=100)
    for length in [6] * 7:
        scene.policy._lengths.ended(length)  # the prior's seven are longer
    small, large = scene.ask(num_prompt=90), scene.ask(num_prompt=150)
    scene.step(holder, seconds=0.8)
    assert scene.displaces(small, holder)
    assert not scene.displaces(large, holder)


def test_the_one_whose_pause_frees_most_for_longest_yields_first() -> None:
    scene = Scene()
    patient = replace(SLO, max_gap_s=20.0)
    holders = small, large, long_pause = (scene.ask(100), scene.ask(300), scene.ask(100, patient))
    for holder in holders:
        scene.hold(holder)
    for _ in range(30):
        scene.step(*holders)
    for _ in range(20):
        scene.policy._lengths.ended(6)  # most answers end before a late gap is forgiven
    unforgiven = scene.ask(300)
    scene.hold(unforgiven)
    for _ in range(4):
        scene.step(*holders, unforgiven)
    order = sorted(scene.live, key=scene.policy.key)
    assert order == [unforgiven, small, large, long_pause]


def test_who_has_lost_its_slo_yields_to_all_and_presses_nobody() -> None:
    scene = Scene()
    lost = scene.ask()
    scene.step(seconds=1.5)  # no first token by now
    assert not scene.displaces(lost, decoding(scene, 12))
    scene.hold(lost)
    scene.step(lost)
    newcomer = scene.ask()
    scene.step(lost, seconds=0.8)
    assert scene.displaces(newcomer, lost)


def test_who_has_waited_for_too_long_comes_in_past_everybody_and_stays_for_its_quantum() -> None:
    scene = Scene(max_wait_s=5.0)
    lost, holder = scene.ask(), decoding(scene, 2)
    for _ in range(60):
        scene.step(holder)
    assert scene.displaces(lost, holder)
    assert min(scene.live, key=scene.policy.key) is lost
    scene.hold(lost)
    for _ in range(4):
        newcomer = scene.ask()
        assert not scene.displaces(newcomer, lost)
        scene.step(lost, holder)
    urgent = scene.ask()
    scene.step(lost, holder, seconds=0.9)
    assert scene.displaces(urgent, lost)


def test_a_pause_longer_than_the_cap_loses_the_slo() -> None:
    for seconds, is_lost in ((1.9, False), (2.1, True)):
        scene = Scene()
        request = decoding(scene, 12)
        scene.pause(request)
        scene.step(seconds=seconds)
        scene.hold(request)
        scene.step(request, seconds=0.0)
        assert scene.policy._promises[request].is_lost == is_lost


def test_a_steps_prefill_is_bounded_by_the_tightest_tbt_of_those_who_decode() -> None:
    scene = Scene()
    assert scene.policy.max_prefill_tokens() is None  # nothing is known of costs, nobody decodes
    scene.costs.prefill_token_s = 1e-4
    decoding(scene, 3, slo=replace(SLO, tbt_s=1.0))
    assert scene.policy.max_prefill_tokens() == pytest.approx((0.9 - STEP_S) / 1e-4, abs=1)
    decoding(scene, 3)  # alone in the last step
    assert scene.policy.max_prefill_tokens() == pytest.approx((0.18 - STEP_S) / 1e-4, abs=1)
    scene.costs.step_s = 5.0
    assert scene.policy.max_prefill_tokens() == 64  # prefill goes on


@given(
    lengths=st.lists(st.integers(1, 300), max_size=40),
    needed=st.integers(1, 300),
    so_far=st.integers(0, 300),
)
def test_chances_are_shares_of_the_answers_that_ended(
    lengths: list[int], needed: int, so_far: int
) -> None:
    known = AnswerLengths()
    for length in lengths:
        known.ended(length)
    longer = [each for each in [*PRIOR, *lengths] if each >= so_far]
    expected = sum(each < needed for each in longer) / len(longer)
    assert known.chance_below(needed, so_far) == pytest.approx(expected)


gaps = st.lists(st.sampled_from([0.05, 0.15, 0.25, 2.5]), min_size=1, max_size=30)


@given(gaps=gaps, splits=st.sets(st.integers(0, 30)))
def test_late_gaps_are_those_counted_one_by_one(gaps: list[float], splits: set[int]) -> None:
    """Steps with the same list of requests are looked at together; where the list is another one,
    or the ranks are looked at, nothing is lost."""
    promises = Promises(SLO)
    request = Request(
        request_id="r",
        prompt_token_ids=[1],
        sampling=SamplingParams(max_tokens=99),
        arrived_at=0.0,
    )
    turn = promises.submitted(request)
    now, decoded = 0.5, [request]
    promises.served(decoded, [], now)
    for i, gap in enumerate(gaps):
        if i in splits:
            decoded = [request]
            promises.settle()
        now += gap
        promises.served(decoded, [], now)
    promises.settle()
    assert turn.num_late == sum(gap > SLO.tbt_s for gap in gaps)
    assert turn.is_lost == (2.5 in gaps)
    assert turn.last_token_at == pytest.approx(now)
