"""The scheduler plug-in follows the same rules as the embedded engine; here without vLLM."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.api import PriorityUpdates
from engines.core.policies.settings import POLICIES
from engines.core.priorities import PriorityTraceFollower
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.priority_file import read_priorities, write_priorities
from engines.vllm.command import PLUGIN, environment
from engines.vllm.plugin.fsbench_vllm.counters import Counters, read_counters
from engines.vllm.plugin.fsbench_vllm.displacement import Holder, Newcomer, displaced
from engines.vllm.plugin.fsbench_vllm.trace import Trace
from engines.vllm.settings import VllmSettings, policies_alone


def updates(num_rows: int, frequency: float) -> PriorityUpdates:
    levels = np.arange(num_rows * 2, dtype=np.uint8).reshape(num_rows, 2)
    return PriorityUpdates(update_frequency=frequency, conversation_ids=["a", "b"], levels=levels)


@given(
    num_rows=st.integers(1, 6),
    frequency=st.sampled_from([0.0, 0.02, 0.04, 0.1, 1 / 3, 0.5, 1.0, 2.5]),
    num_iterations=st.integers(1, 120),
)
def test_the_trace_has_the_levels_of_the_embedded_engine_at_every_iteration(
    tmp_path_factory: pytest.TempPathFactory, num_rows: int, frequency: float, num_iterations: int
) -> None:
    path = write_priorities(tmp_path_factory.getbasetemp(), updates(num_rows, frequency))
    assert path is not None
    mine = Trace(path)
    theirs = PriorityTraceFollower(read_priorities(path))
    request = Request(
        request_id="r",
        prompt_token_ids=[1],
        sampling=SamplingParams(max_tokens=1),
        arrived_at=0.0,
        conversation_id="b",
    )
    theirs.assign(request)
    assert mine.level("b") == request.priority
    for iteration in range(num_iterations):
        assert mine.advance() == theirs.advance(iteration, [request])
        assert mine.level("b") == request.priority


def test_the_trace_begins_with_the_first_conversation_it_knows(tmp_path: Path) -> None:
    path = write_priorities(tmp_path, updates(3, 1.0))
    assert path is not None
    trace = Trace(path)
    assert trace.level(None) is trace.level("warm-up") is None
    assert [trace.advance() for _ in range(5)] == [False] * 5
    assert trace.level("a") == 0
    assert [trace.advance() for _ in range(4)] == [False, True, True, True]  # 0, 1, 2, 0 again
    assert trace.level("a") == 0


def hold(*held: tuple[int, int]) -> list[Holder]:
    return [Holder(level=level, num_blocks=blocks, num_missing=0) for level, blocks in held]


def want(*wanted: tuple[int, int]) -> list[Newcomer]:
    return [Newcomer(level=level, num_blocks=blocks) for level, blocks in wanted]


def goes(newcomers: list[Newcomer], holders: list[Holder], **limits: int) -> list[int]:
    given = {"num_free": 0, "num_watermark": 0, "max_holders": 64, **limits}
    return displaced(newcomers, holders, **given)


def test_the_least_urgent_goes_first_and_no_more_than_must() -> None:
    assert goes(want((0, 4)), hold((1, 9), (2, 9), (3, 3), (4, 3))) == [3, 2]
    assert goes(want((0, 3)), hold((1, 9), (2, 9), (3, 3), (4, 3))) == [3]
    assert goes(want((0, 3)), hold((1, 9)), num_free=3) == []


def test_nobody_goes_for_an_equal_or_in_vain() -> None:
    assert goes(want((2, 4)), hold((1, 9), (2, 9))) == []
    assert goes(want((2, 12)), hold((1, 9), (3, 9))) == []  # what may go is not enough


def test_a_newcomer_who_does_not_fit_holds_back_those_behind_it() -> None:
    assert goes(want((2, 12), (2, 1)), hold((1, 9), (3, 9))) == []
    assert goes(want((0, 9), (2, 5)), hold((1, 9), (3, 9), (4, 9))) == [2, 1]


def test_what_holders_still_need_is_theirs_first() -> None:
    growing = [Holder(level=0, num_blocks=8, num_missing=2), *hold((5, 4))]
    assert goes(want((1, 3)), growing, num_free=4) == [1]
    assert goes(want((1, 3)), growing, num_free=5) == []


def test_places_are_as_scarce_as_blocks() -> None:
    assert goes(want((0, 1), (0, 1)), hold((1, 1), (2, 1)), num_free=9, max_holders=2) == [1, 0]
    assert goes(want((0, 1)), hold((1, 1), (2, 1)), num_free=9, max_holders=3) == []


def test_the_watermark_stays_free_unless_the_newcomer_is_alone() -> None:
    assert goes(want((0, 4)), hold((1, 9), (2, 4)), num_watermark=1) == [1, 0]
    assert goes(want((0, 13)), hold((1, 9), (2, 4)), num_watermark=1) == [1, 0]


levels = st.integers(0, 3)
blocks = st.integers(0, 6)


@given(
    newcomers=st.lists(st.builds(Newcomer, level=levels, num_blocks=blocks), max_size=5),
    holders=st.lists(
        st.builds(Holder, level=levels, num_blocks=blocks, num_missing=st.integers(0, 2)),
        max_size=6,
    ),
    num_free=st.integers(0, 8),
    max_holders=st.integers(6, 8),
)
def test_who_goes_is_always_the_least_urgent_and_less_urgent_than_who_comes(
    newcomers: list[Newcomer], holders: list[Holder], num_free: int, max_holders: int
) -> None:
    newcomers.sort(key=lambda each: each.level)
    holders.sort(key=lambda each: each.level)
    gone = displaced(
        newcomers, holders, num_free=num_free, num_watermark=1, max_holders=max_holders
    )
    assert gone == list(range(len(holders) - 1, len(holders) - 1 - len(gone), -1))
    if gone:  # the last of them went for somebody more urgent, who then fits
        assert any(each.level < holders[gone[-1]].level for each in newcomers)
        freed = num_free + sum(holders[i].num_blocks for i in gone)
        kept = sum(each.num_missing for i, each in enumerate(holders) if i not in gone)
        assert newcomers[0].num_blocks <= freed - kept


def test_counters_can_be_read_while_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "counters.npy"
    assert read_counters(path) == {}
    counters = Counters(path)
    counters.add("num_recomputed_tokens", 5)
    counters.add("num_recomputed_tokens", 6)
    assert read_counters(path)["num_recomputed_tokens"] == 11
    assert read_counters(path)["num_priority_updates"] == 0


@pytest.mark.parametrize("policy", POLICIES)
def test_a_policy_brings_no_more_of_the_project_than_its_own_folder(
    tmp_path: Path, policy: str
) -> None:
    """Its settings cross as JSON; what has to be importable is `engines`, and of it the policies
    and what a request is."""
    settings = VllmSettings.model_validate({"policy": policy, "kv_tokens": 64})
    with policies_alone(settings) as folder:
        assert [each.name for each in folder.iterdir()] == ["engines"]
        given = environment(
            settings, priorities=None, counters=tmp_path / "counters.npy", policies=folder
        )
        code = (
            "import os, sys; import fsbench_vllm.seen; from pydantic import TypeAdapter;"
            "from engines.core.policies.settings import PolicyChoice;"
            "print(TypeAdapter(PolicyChoice).validate_json(os.environ['FSBENCH_POLICY']).name);"
            "print([name for name in ('suite', 'torch', 'pyarrow') if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd="/",
            env=given,
            capture_output=True,
            text=True,
            check=True,
        )
    assert done.stdout.split("\n") == [policy, "[]", ""]
    assert not folder.exists()


def test_vllms_environment_needs_nothing_of_the_project_but_its_folder() -> None:
    code = (
        "import fsbench_vllm.trace, fsbench_vllm.displacement, fsbench_vllm.counters, sys;"
        "print([name for name in ('engines', 'suite', 'workloads') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd="/",
        env={"PYTHONPATH": str(PLUGIN)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
