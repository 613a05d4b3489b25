"""The plug-in brings a policy to a scheduler that has the names of vLLM's: its order, its word on
who goes, its bound on a step, and all that it has to hear."""

from __future__ import annotations

import heapq
import importlib
import json
import sys
import time
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.policies.fcfs import FirstComeFirstServed
from engines.core.policies.settings import POLICIES
from engines.promise import in_milliseconds
from engines.terms import UNKNOWN, Slo
from engines.vllm.plugin.fsbench_vllm.compatibility import POLICY_NAMES, check
from engines.vllm.plugin.fsbench_vllm.seen import terms_of

BLOCK = 16


class FakeRequest:
    """What of vLLM's request the plug-in knows."""

    def __init__(self, request_id: str, *, num_prompt: int = 8, **extra: Any) -> None:
        self.request_id = request_id
        self.priority = 0
        self.arrival_time = time.time()
        self.prompt_token_ids = [1] * num_prompt
        self.output_token_ids: list[int] = []
        self.num_computed_tokens = 0
        self.num_preemptions = 0
        self.status = 0
        self.sampling_params = SimpleNamespace(extra_args=extra, max_tokens=4)

    @property
    def num_tokens(self) -> int:
        return len(self.prompt_token_ids) + len(self.output_token_ids)

    def __lt__(self, other: FakeRequest) -> bool:
        return (self.priority, self.arrival_time) < (other.priority, other.arrival_time)


class Queue(list[FakeRequest]):
    def add_request(self, request: FakeRequest) -> None:
        heapq.heappush(self, request)

    def pop_request(self) -> FakeRequest:
        return heapq.heappop(self)


class FakeScheduler:
    """Gives every waiting request room while there is some, and each runner what the step's tokens
    allow; a token to each that has computed all it has."""

    def __init__(self) -> None:
        self.running: list[FakeRequest] = []
        self.waiting = Queue()
        self.requests: dict[str, FakeRequest] = {}
        self.prev_step_scheduled_req_ids: set[str] = set()
        self.max_num_running_reqs = 8
        self.max_num_scheduled_tokens = 64
        self.block_size = BLOCK
        self.num_blocks = 4
        self.kv_cache_config = SimpleNamespace(kv_cache_groups=[None])
        pool = SimpleNamespace(get_num_free_blocks=self._num_free)
        self.kv_cache_manager = SimpleNamespace(get_blocks=self._get_blocks, block_pool=pool)
        self.budgets: list[int] = []

    def _num_free(self) -> int:
        return self.num_blocks - sum(map(self._wanted, self.running))

    def _wanted(self, request: FakeRequest) -> int:
        return -(-request.num_tokens // BLOCK)

    def _get_blocks(self, request_id: str) -> Any:
        request = self.requests[request_id]
        number = self._wanted(request) if request in self.running else 0
        return SimpleNamespace(blocks=([SimpleNamespace(ref_cnt=1)] * number,))

    def add_request(self, request: FakeRequest) -> None:
        self.requests[request.request_id] = request
        self.waiting.add_request(request)

    def schedule(self) -> Any:
        self.budgets.append(self.max_num_scheduled_tokens)
        while self.waiting and self._wanted(self.waiting[0]) <= self._num_free():
            self.running.append(self.waiting.pop_request())
        budget, scheduled = self.max_num_scheduled_tokens, {}
        for request in self.running:
            number = min(budget, request.num_tokens - request.num_computed_tokens)
            if number > 0:
                scheduled[request.request_id] = number
                request.num_computed_tokens += number
                budget -= number
        return SimpleNamespace(num_scheduled_tokens=scheduled)

    def update_from_output(self, output: Any, _: object) -> None:
        for request_id in output.num_scheduled_tokens:
            request = self.requests[request_id]
            if request.num_computed_tokens == request.num_tokens:
                request.output_token_ids.append(7)
            if len(request.output_token_ids) >= request.sampling_params.max_tokens:
                self.running.remove(request)
                self._free_request(request)

    def _free_request(self, request: FakeRequest) -> None:
        del self.requests[request.request_id]

    def _preempt_request(self, request: FakeRequest, _: float) -> None:
        request.num_computed_tokens = 0
        request.num_preemptions += 1
        self.waiting.add_request(request)


@pytest.fixture(scope="module")
def plugin() -> Iterator[Any]:
    """The module of the plug-in, with these names in the place of vLLM's."""
    names = ("vllm", "vllm.v1", "vllm.v1.core", "vllm.v1.core.sched")
    fakes = {name: ModuleType(name) for name in names}
    scheduler, request = ModuleType("scheduler"), ModuleType("request")
    scheduler.Scheduler = FakeScheduler  # type: ignore[attr-defined]
    request.Request = FakeRequest  # type: ignore[attr-defined]
    request.RequestStatus = SimpleNamespace(WAITING=0, PREEMPTED=1)  # type: ignore[attr-defined]
    fakes |= {"vllm.v1.core.sched.scheduler": scheduler, "vllm.v1.request": request}
    own = [f"engines.vllm.plugin.fsbench_vllm.{x}" for x in ("scheduler", "policy_scheduler")]
    with pytest.MonkeyPatch.context() as patch:
        for name, fake in fakes.items():
            patch.setitem(sys.modules, name, fake)
        for name in own:
            patch.delitem(sys.modules, name, raising=False)
        module = importlib.import_module(own[1])
        patch.setattr(sys.modules[own[0]], "version", lambda _: "0.32.0")
        yield module
    for name in own:
        sys.modules.pop(name, None)


def scheduler_of(plugin: Any, policy: str | object) -> Any:
    name = policy if isinstance(policy, str) else "fcfs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FSBENCH_POLICY", json.dumps({"name": name}))
        scheduler = plugin.PolicyScheduler()
    if not isinstance(policy, str):
        scheduler._policy = policy
    return scheduler


def slo(ttft_s: float, tbt_s: float = 0.2) -> dict[str, float]:
    return in_milliseconds(Slo(ttft_s=ttft_s, tbt_s=tbt_s))


@pytest.mark.parametrize("policy", POLICIES)
@given(promises=st.lists(st.sampled_from([0.1, 1.0, 5.0]), min_size=1, max_size=8))
def test_who_waits_stands_in_the_policys_order(
    plugin: Any, policy: str, promises: list[float]
) -> None:
    scheduler = scheduler_of(plugin, policy)
    for number, ttft_s in enumerate(promises):
        scheduler.add_request(FakeRequest(f"r{number}", user=f"u{number % 2}", **slo(ttft_s)))
    scheduler._begin_iteration()
    order = [scheduler.waiting.pop_request() for _ in promises]
    keys = [scheduler._policy.key(scheduler._seen[each.request_id]) for each in order]
    assert keys == sorted(keys)
    assert [each.priority for each in order] == [*range(len(promises))]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_request_ends_and_nothing_of_it_is_kept(plugin: Any, policy: str) -> None:
    scheduler = scheduler_of(plugin, policy)
    for number in range(12):
        scheduler.add_request(FakeRequest(f"r{number}", num_prompt=20, **slo(1.0)))
    for _ in range(800):
        if not scheduler.requests:
            break
        scheduler.update_from_output(scheduler.schedule(), None)
    assert not scheduler.requests
    assert not scheduler._seen and not scheduler._unscheduled


class Listening(FirstComeFirstServed):
    """Writes down what it hears; those of user `urgent` go before all others."""

    def __init__(self, bound: int | None = None) -> None:
        self.heard: list[Any] = []
        self.bound = bound
        self.is_pressing = True

    @property
    def key(self) -> Any:  # type: ignore[override]
        return lambda seen: (seen.terms.user_id != "urgent", seen.serial)

    def submitted(self, request: Any, now: float) -> None:
        self.heard.append(("submitted", request.request_id))

    def served(self, decoded: Any, prefilled: Any, now: float) -> None:
        prompts = [(seen.request_id, number) for seen, number in prefilled]
        self.heard.append(("served", [seen.request_id for seen in decoded], prompts))

    def ended(self, request: Any, now: float) -> None:
        self.heard.append(("ended", request.request_id))

    def may_displace(self, newcomer: Any, holder: Any) -> bool:
        return bool(newcomer.terms.user_id == "urgent" != holder.terms.user_id)

    def presses(self, newcomer: Any) -> bool:
        return self.is_pressing

    def max_prefill_tokens(self) -> int | None:
        return self.bound


def step(scheduler: Any) -> None:
    scheduler.update_from_output(scheduler.schedule(), None)


def test_the_policy_hears_of_all_that_befalls_a_request(plugin: Any) -> None:
    policy = Listening()
    scheduler = scheduler_of(plugin, policy)
    scheduler.add_request(FakeRequest("a", num_prompt=8))
    for _ in range(4):
        step(scheduler)
    assert policy.heard == [
        ("submitted", "a"),
        ("served", [], [("a", 8)]),
        ("served", ["a"], []),
        ("served", ["a"], []),
        ("ended", "a"),
        ("served", ["a"], []),
    ]


def test_who_may_displace_whom_is_the_policys_word(plugin: Any) -> None:
    policy = Listening()
    scheduler = scheduler_of(plugin, policy)
    for name in ("a", "b"):
        scheduler.add_request(FakeRequest(name, num_prompt=26))  # two of the four blocks each
        scheduler.requests[name].sampling_params.max_tokens = 6
    step(scheduler)
    assert {each.request_id for each in scheduler.running} == {"a", "b"}
    scheduler.add_request(FakeRequest("c", num_prompt=20))
    step(scheduler)
    assert scheduler.requests["b"].num_preemptions == 0  # c waits, whom nobody makes way for
    scheduler.add_request(FakeRequest("d", num_prompt=20, user="urgent"))
    policy.is_pressing = False
    step(scheduler)
    assert scheduler.requests["b"].num_preemptions == 0  # nor for d, whose time has not come
    policy.is_pressing = True
    step(scheduler)
    assert [each.request_id for each in scheduler.running] == ["a", "d"]


def test_who_came_back_and_has_no_token_to_show_for_it_is_left_alone(plugin: Any) -> None:
    policy = Listening()
    scheduler = scheduler_of(plugin, policy)
    scheduler.add_request(FakeRequest("a", num_prompt=50))
    step(scheduler)
    lost = scheduler.running.pop()
    scheduler._preempt_request(lost, 0.0)
    policy.bound = 30
    step(scheduler)
    assert 0 < lost.num_computed_tokens < lost.num_tokens  # it is back, and on its way
    scheduler.add_request(FakeRequest("b", num_prompt=20, user="urgent"))
    step(scheduler)
    assert scheduler.running == [lost]
    step(scheduler)  # it has got a token now
    step(scheduler)
    assert [each.request_id for each in scheduler.running] == ["b"]


@pytest.mark.parametrize(("bound", "budget"), [(None, 64), (5, 6), (0, 2), (500, 64)])
def test_a_steps_prefill_is_bounded_beside_its_decodes(
    plugin: Any, bound: int | None, budget: int
) -> None:
    policy = Listening()
    scheduler = scheduler_of(plugin, policy)
    scheduler.add_request(FakeRequest("a", num_prompt=8))
    step(scheduler)
    policy.bound = bound
    scheduler.add_request(FakeRequest("b", num_prompt=40))
    step(scheduler)
    assert scheduler.budgets[-1] == budget  # one for the decode of a
    assert scheduler.max_num_scheduled_tokens == 64


def test_what_vllm_found_of_a_prompt_is_told_to_the_policy(plugin: Any) -> None:
    scheduler = scheduler_of(plugin, Listening())
    scheduler.add_request(FakeRequest("a", num_prompt=20))
    scheduler.requests["a"].num_computed_tokens = 16  # as a look-up at admission would have it
    step(scheduler)
    assert scheduler._seen["a"].num_cached_tokens == 16


def test_a_steps_bound_does_not_outlive_a_failure(plugin: Any) -> None:
    scheduler = scheduler_of(plugin, Listening(bound=3))
    scheduler._make_way = None  # fails when it is called
    scheduler.add_request(FakeRequest("a"))
    with pytest.raises(TypeError):
        scheduler.schedule()
    assert scheduler.max_num_scheduled_tokens == 64


def test_costs_are_measured_between_scheduling_and_output(plugin: Any) -> None:
    scheduler = scheduler_of(plugin, Listening())
    scheduler.add_request(FakeRequest("a", num_prompt=8))
    for _ in range(2):
        output = scheduler.schedule()
        time.sleep(0.01)
        scheduler.update_from_output(output, None)
    assert scheduler._costs.step_s >= 0.01


VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3)
NAMES = ("user", "user_class", "ttft_ms", "tbt_ms", "tbt_percentile", "max_gap_ms")


@given(st.dictionaries(st.sampled_from(NAMES), VALUES | st.lists(VALUES, max_size=2)))
def test_no_request_can_say_what_the_server_dies_of(extra: dict[str, Any]) -> None:
    found = terms_of(extra)
    assert found.slo is None or min(found.slo.ttft_s, found.slo.tbt_s) > 0


def test_what_the_driver_says_is_what_the_policy_sees() -> None:
    whole = Slo(ttft_s=1.0, tbt_s=0.25, tbt_percentile=0.95, max_gap_s=2.0)
    found = terms_of({"user": "ann", "user_class": "gold", **in_milliseconds(whole)})
    assert (found.user_id, found.user_class, found.slo) == ("ann", "gold", whole)
    assert terms_of({"conversation_id": "c"}) is UNKNOWN


@pytest.mark.parametrize("name", POLICY_NAMES[-3:])
def test_a_name_that_a_policy_needs_is_looked_for_at_start(name: str) -> None:
    scheduler = FakeScheduler()
    known = {key: getattr(scheduler, key) for key in dir(scheduler) if not key.startswith("__")}
    del known[name]
    with pytest.raises(RuntimeError, match=rf"finds no {name} "):
        check(SimpleNamespace(**known), "0.32.0", POLICY_NAMES)
