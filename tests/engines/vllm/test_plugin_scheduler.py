"""The plug-in's scheduler around a base class that has the names of vLLM's."""

from __future__ import annotations

import heapq
import importlib
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from engines.vllm.plugin.fsbench_vllm.compatibility import NAMES, check


@dataclass(order=True)
class Waiting:
    priority: int
    request_id: str = field(compare=False)
    sampling_params: None = field(default=None, compare=False)


class Heap:
    """As vLLM's queue by priority: a heap, whose order is that of insertion until it is popped."""

    def __init__(self) -> None:
        self._heap: list[Waiting] = []

    def __len__(self) -> int:
        return len(self._heap)

    def add_request(self, request: Waiting) -> None:
        heapq.heappush(self._heap, request)

    def pop_request(self) -> Waiting:
        return heapq.heappop(self._heap)


class Scheduler:
    """What of vLLM's scheduler the plug-in knows."""

    def __init__(self) -> None:
        self.running: list[Waiting] = []
        self.waiting, self.skipped_waiting = Heap(), Heap()
        self.requests: dict[str, Waiting] = {}
        self.prev_step_scheduled_req_ids: set[str] = set()
        self.max_num_running_reqs = 8
        self.block_size = 16
        self.kv_cache_config = SimpleNamespace(kv_cache_groups=[None])
        pool = SimpleNamespace(get_num_free_blocks=lambda: 4)
        self.kv_cache_manager = SimpleNamespace(get_blocks=lambda _: None, block_pool=pool)

    def _preempt_request(self, request: Waiting, timestamp: float) -> None: ...


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module of the plug-in, with these names in the place of vLLM's."""
    vllm, scheduler, request = (ModuleType(name) for name in ("vllm", "scheduler", "request"))
    scheduler.Scheduler = Scheduler  # type: ignore[attr-defined]
    request.Request = Waiting  # type: ignore[attr-defined]
    request.RequestStatus = SimpleNamespace(WAITING=0, PREEMPTED=1)  # type: ignore[attr-defined]
    for name in ("vllm", "vllm.v1", "vllm.v1.core", "vllm.v1.core.sched"):
        monkeypatch.setitem(sys.modules, name, vllm)
    monkeypatch.setitem(sys.modules, "vllm.v1.core.sched.scheduler", scheduler)
    monkeypatch.setitem(sys.modules, "vllm.v1.request", request)
    name = "engines.vllm.plugin.fsbench_vllm.scheduler"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    monkeypatch.setattr(module, "version", lambda _: "0.32.0")
    yield module
    sys.modules.pop(name, None)


@pytest.mark.parametrize("queue_name", ["waiting", "skipped_waiting"])
def test_new_levels_order_both_queues_anew(plugin: Any, queue_name: str) -> None:
    scheduler = plugin.TraceScheduler()
    queue = getattr(scheduler, queue_name)
    levels = [3, 1, 4, 0, 2]
    requests = [Waiting(level, str(i)) for i, level in enumerate(levels)]
    for request in requests:
        queue.add_request(request)
        scheduler.requests[request.request_id] = request
    new = {"0": 0, "1": 4, "2": 1, "3": 3, "4": 2}
    scheduler._assign = lambda request: setattr(request, "priority", new[request.request_id])
    scheduler._set_levels_anew()
    assert [queue.pop_request().request_id for _ in levels] == ["0", "2", "4", "3", "1"]


def test_a_vllm_without_a_queue_of_those_passed_over_is_fine(plugin: Any) -> None:
    scheduler = plugin.TraceScheduler()
    del scheduler.skipped_waiting
    scheduler._set_levels_anew()


def test_a_version_that_nobody_tried_is_told_in_the_log(
    plugin: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugin, "version", lambda _: "0.33.1")
    with caplog.at_level(logging.WARNING):
        plugin.TraceScheduler()
    assert "tested with vLLM 0.32, this is 0.33.1" in caplog.text


@pytest.mark.parametrize("version", ["0.32.0", "0.32.1+cpu"])
def test_the_tested_version_is_fine(version: str) -> None:
    assert check(Scheduler(), version) is None


@pytest.mark.parametrize("version", ["0.23.0", "0.33.1", "dev"])
def test_another_version_with_the_same_names_gets_a_remark(version: str) -> None:
    assert "this is " + version in (check(Scheduler(), version) or "")


@pytest.mark.parametrize("version", ["0.6.3", "0.19.1"])
def test_a_version_from_before_is_refused_in_one_line(version: str) -> None:
    with pytest.raises(RuntimeError, match=rf"needs vLLM 0\.20 or newer, got {version}"):
        check(Scheduler(), version)


@pytest.mark.parametrize("name", NAMES)
def test_each_private_name_that_has_gone_is_told_at_start(name: str) -> None:
    scheduler: Any = Scheduler()
    *path, last = name.split(".")
    owner = scheduler
    for part in path[:-1]:
        owner = getattr(owner, part)
    if path:
        setattr(owner, path[-1], SimpleNamespace())
    elif last == "_preempt_request":
        scheduler = SimpleNamespace(**vars(scheduler))
    else:
        delattr(scheduler, last)
    with pytest.raises(RuntimeError, match=rf"finds no [^(]*{name}.*vLLM 0\.32\.0"):
        check(scheduler, "0.32.0")


def test_another_way_of_preempting_is_told_at_start() -> None:
    scheduler: Any = Scheduler()
    scheduler._preempt_request = lambda request: None
    with pytest.raises(RuntimeError, match=r"_preempt_request\(request, time\)"):
        check(scheduler, "0.32.0")
