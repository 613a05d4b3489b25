"""Nobody starves: below capacity every request ends, whoever keeps coming; and under `slo` nobody
waits past the bound even above it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.core.policies.settings import POLICIES, PolicySettings
from engines.core.request import Request
from engines.core.settings import PRESETS
from engines.terms import Slo, Terms
from tests.engines.core.bench import NEWER_POLICIES, Bench, core_settings, prompt_of

TIGHT = Slo(ttft_s=0.03, tbt_s=0.02, tbt_percentile=0.8, max_gap_s=0.08)
LOOSE = Slo(ttft_s=1.0, tbt_s=0.05)
ALL = {"fcfs": POLICIES["fcfs"](), "priority": POLICIES["priority"](), **NEWER_POLICIES}
STEP_S = 0.01  # of the memory device


def bench_of(policy: PolicySettings, preset: str) -> Bench:
    return Bench(core_settings(replace(PRESETS[preset], policy=policy)))


def urgent(bench: Bench, number: int, num_prompt: int, num_tokens: int) -> Request:
    """Submits one that is more urgent by any measure: shorter, of a higher level, of a new user, of
    a tighter SLO."""
    terms = Terms(user_id=f"u{number}", slo=TIGHT)
    prompt = prompt_of(number, num_prompt)
    return bench.submit(f"urgent{number}", prompt, num_tokens, terms=terms, priority=0)


@settings(max_examples=12, deadline=None)
@given(
    num_prompt=st.integers(2, 12),
    num_tokens=st.integers(2, 8),
    num_victims=st.integers(1, 3),
    preset=st.sampled_from(["vllm-0.3", "fastswitch", "recompute-prefix"]),
)
@pytest.mark.parametrize("name", ALL)
def test_every_request_ends_below_capacity_whoever_keeps_coming(
    name: str, num_prompt: int, num_tokens: int, num_victims: int, preset: str
) -> None:
    bench = bench_of(ALL[name], preset)
    terms = Terms(user_id="patient", slo=LOOSE)
    victims = [
        bench.submit(f"v{i}", prompt_of(90 + i, 20), 25, terms=terms, priority=3)
        for i in range(num_victims)
    ]
    # Two at a time, whose blocks leave no room for a victim's 45 of 64 tokens; they need the device
    # for about num_tokens + 2 of each 3 · num_tokens + 10 steps.
    every = 3 * num_tokens + 10
    for number in range(4000):
        if all(victim.finish_reason is not None for victim in victims):
            return
        if number % every == 0:
            urgent(bench, 2 * number, num_prompt, num_tokens)
            urgent(bench, 2 * number + 1, num_prompt, num_tokens)
        bench.step() if bench.engine.has_work else setattr(
            bench.device, "now", bench.device.now + STEP_S
        )
    pytest.fail(f"{name}: {[len(each.output_token_ids) for each in victims]} of 25 tokens")


MAX_WAIT_S = 0.5


def longest_wait_s(policy: PolicySettings, num_steps: int = 600) -> float:
    """Returns how long one who has lost its SLO goes without a token at most, while a load of twice
    the capacity keeps coming."""
    bench = bench_of(policy, "fastswitch")
    victim = bench.submit("victim", prompt_of(90, 20), 40, terms=Terms(user_id="v", slo=TIGHT))
    longest, served_at, num_seen = 0.0, bench.device.now, 0
    for number in range(num_steps):
        if number % 2 == 0:
            urgent(bench, number, 10, 10)
        bench.step()
        if len(victim.output_token_ids) > num_seen or victim.finish_reason is not None:
            num_seen, served_at = len(victim.output_token_ids), bench.device.now
        longest = max(longest, bench.device.now - served_at)
    return longest


def test_nobody_waits_past_the_bound_while_others_run() -> None:
    bounded = POLICIES["slo"](max_wait_s=MAX_WAIT_S, quantum=4, margin_s=0.02, renew_every=2)
    unbounded = POLICIES["slo"](max_wait_s=1e6, quantum=4, margin_s=0.02, renew_every=2)
    assert longest_wait_s(bounded) <= MAX_WAIT_S + 10 * STEP_S
    assert longest_wait_s(unbounded) > 4 * MAX_WAIT_S, "the load does not press"
