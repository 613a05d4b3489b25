"""Who is more urgent is the policy's to say, also where copies are given up and swap-ins waited
for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.adaptive import Situation
from engines.core.policies.settings import POLICIES
from engines.core.policy import Policy
from engines.core.request import HostCopy, Phase, Request
from engines.core.reuse import HostReuse, KeptContext
from engines.core.roster import Roster
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS
from engines.core.step_costs import StepCosts
from tests.engines.core.bench import Bench, core_settings, prompt_of
from tests.engines.core.memory_device import undisturbed


def request(name: str, *, priority: int, arrived_at: float, serial: int = 0) -> Request:
    made = Request(
        request_id=name,
        prompt_token_ids=[1],
        sampling=SamplingParams(max_tokens=1),
        arrived_at=arrived_at,
        priority=priority,
    )
    made.serial = serial
    return made


places = st.tuples(st.integers(0, 2), st.integers(0, 2))


BY_REQUEST = ("fcfs", "priority")  # their ranks are on the request from the start


def policy_of(name: str) -> Policy:
    return POLICIES[name]().build(StepCosts())


@given(name=st.sampled_from(BY_REQUEST), places=st.tuples(places, places))
def test_whoever_outranks_comes_first_and_is_outranked_by_no_one_behind(
    name: str, places: tuple[tuple[int, int], tuple[int, int]]
) -> None:
    policy = policy_of(name)
    one, other = (
        request(str(i), priority=priority, arrived_at=at, serial=i)
        for i, (priority, at) in enumerate(places)
    )
    if policy.outranks(one, other):
        assert policy.key(one) < policy.key(other)
        assert not policy.outranks(other, one)
    if policy.may_displace(one, other):
        assert policy.outranks(one, other)
    assert not policy.outranks(one, one)


def spare_copies(policy: str, newcomer: Request, holders: list[Request]) -> list[str]:
    kv: Any = None  # is not asked
    roster = Roster(policy_of(policy))
    for holder in holders:
        holder.phase = Phase.RUNNING
        holder.host_copy = HostCopy(owner=holder.request_id)
        roster.run(holder)
    reuse = HostReuse(kv, roster)
    reuse._kept["idle"] = KeptContext(token_ids=[], copy=HostCopy(owner="idle"))
    return [copy.owner for copy in reuse._spare_copies(newcomer)]


def holders() -> list[Request]:
    """By priority c, b, a, d; by arrival a, b, c, d."""
    levels = {"a": 2, "b": 1, "c": 0, "d": 3}
    return [
        request(name, priority=level, arrived_at=float(at), serial=at)
        for at, (name, level) in enumerate(levels.items())
    ]


def test_only_who_is_outranked_has_his_copy_contaminated_the_least_urgent_first() -> None:
    newcomer = request("new", priority=1, arrived_at=1.5)
    assert spare_copies("priority", newcomer, holders()) == ["d", "a", "idle"]
    assert spare_copies("fcfs", newcomer, holders()) == ["d", "c", "idle"]


def test_whoever_outranks_nobody_takes_idle_contexts_alone() -> None:
    last = request("new", priority=9, arrived_at=9.0)
    for policy in BY_REQUEST:
        assert spare_copies(policy, last, holders()) == ["idle"]


def test_a_swap_in_is_most_urgent_by_the_policy_and_not_by_a_number_it_ignores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under fcfs the last to come was sent away and comes back, whatever its priority says."""
    mechanisms = replace(PRESETS["fastswitch"], policy=POLICIES["fcfs"]())
    bench = Bench(core_settings(mechanisms))
    seen: list[Situation] = []
    scheduler = bench.engine._scheduler
    choose = scheduler._choose_to_wait
    monkeypatch.setattr(
        scheduler, "_choose_to_wait", lambda each: seen.append(each) or choose(each)
    )
    for i, (priority, num_tokens) in enumerate([(5, 26), (5, 10), (0, 10)]):
        bench.submit(f"r{i}", prompt_of(i, 16), num_tokens, priority=priority)
    bench.run()
    among_others = [each for each in seen if each.num_running]
    assert among_others
    assert not any(each.is_most_urgent for each in among_others)


@pytest.mark.parametrize("bound", [5, 0])
def test_a_step_computes_no_more_prompt_tokens_than_the_policy_allows(
    bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bound of none holds prefill back while others decode, and not for ever."""
    bench = Bench(core_settings(PRESETS["fastswitch"]))
    monkeypatch.setattr(bench.engine._policy, "max_prefill_tokens", lambda: bound)
    bench.submit("first", prompt_of(1, 1), 12)
    bench.step()
    bench.submit("second", prompt_of(2, 20), 3)
    bench.run()
    beside_decodes = [row for row in bench.rows[1:] if row.num_decode_tokens]
    assert max(row.num_prefill_tokens for row in beside_decodes) == bound
    assert bench.tokens["second"] == undisturbed(prompt_of(2, 20), 3)
