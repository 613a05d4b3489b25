from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

from tests.workloads.examples import SMALL, lengths, small_plan, write_small
from workloads.plan import Plan

REPOSITORY = Path(__file__).parents[2]
KNOWN_DIGEST = "4dbac61a66c4c893586639cb37bb9581944544850b8327db587f50703bfdf856"
BUILD = """
import sys
from pathlib import Path
from workloads.build import build_plan
from workloads.source import read_source
from workloads.spec import spec_of
print(build_plan(spec_of(read_source(Path(sys.argv[1]))), Path()).digest)
"""


def test_the_digest_of_a_known_workload_is_the_committed_one(tmp_path: Path) -> None:
    """It changes only with the meaning of workload files: then old plans can not be compared."""
    assert small_plan(tmp_path).digest == KNOWN_DIGEST


@pytest.mark.parametrize("is_plain", [False, True], ids=["all CPU features", "baseline CPU"])
def test_a_fresh_process_builds_the_same_plan_on_any_cpu(tmp_path: Path, is_plain: bool) -> None:
    """numpy's vector code differs between CPUs in the last bit; the plan must not."""
    dispatched = [name for name in __cpu_dispatch__ if __cpu_features__.get(name)]
    disabled = {"NPY_DISABLE_CPU_FEATURES": " ".join(dispatched)} if is_plain else {}
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD, str(write_small(tmp_path))],
        cwd=REPOSITORY,
        env=os.environ | disabled,
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == KNOWN_DIGEST


@pytest.mark.parametrize(
    "override",
    [
        "engines={one: {kind: openai}, vllm-0.3: {kind: vllm}}",
        "gates=[]",
        "repeats=3",
        "baseline=fcfs",
        "name=other",
        "model=other",
        "driver.turn_timeout=1s",
    ],
)
def test_what_is_asked_does_not_depend_on_who_answers(tmp_path: Path, override: str) -> None:
    assert small_plan(tmp_path, override).digest == KNOWN_DIGEST


@pytest.mark.parametrize(
    "override",
    [
        "seed=8",
        "conversations.count=13",
        "conversations.token_ids=[256, 8001]",
        "arrivals.rate=2.1",
        "think_time.max=29s",
        "users.batch.slo.ttft=11s",
        "users.batch.slo.tbt_percentile=0.95",
        "users.batch.slo.max_gap=10s",
        "priorities.stay=0.8",
        "priorities.update_interval=2s",
    ],
)
def test_what_changes_the_work_changes_the_digest(tmp_path: Path, override: str) -> None:
    assert small_plan(tmp_path, override).digest != KNOWN_DIGEST


def test_each_block_draws_for_itself(tmp_path: Path) -> None:
    """Other arrivals leave lengths, content and think times; more conversations, the first ones."""
    plan = small_plan(tmp_path)
    other = small_plan(tmp_path, "arrivals.rate=20", "priorities={pattern: random}")
    more = small_plan(tmp_path, "conversations.count=20")
    assert lengths(other) == lengths(plan)
    assert lengths(more)[:12] == lengths(plan)
    for first, second in ((plan, other), (plan, more)):
        for one, two in zip(first.conversations, second.conversations, strict=False):
            assert [turn.think_time_s for turn in one.turns] == [t.think_time_s for t in two.turns]
            for turn, same in zip(one.turns, two.turns, strict=True):
                assert np.array_equal(turn.new_prompt_token_ids, same.new_prompt_token_ids)


def test_the_order_of_keys_in_the_file_does_not_matter(tmp_path: Path) -> None:
    top, users = SMALL.split("users:\n")
    interactive, batch, *rest = users.splitlines(keepends=True)
    turned = "".join(["users:\n", batch, interactive, *rest]) + top
    assert small_plan(tmp_path, text=turned).digest == KNOWN_DIGEST


def test_conversations_are_in_order_of_their_start(tmp_path: Path) -> None:
    plan = small_plan(tmp_path, "conversations.count=50")
    starts = [conversation.start_at_s for conversation in plan.conversations]
    assert starts == sorted(starts)
    ids = [conversation.conversation_id for conversation in plan.conversations]
    assert len(set(ids)) == 50
    assert all(c.turns[0].think_time_s == 0 for c in plan.conversations)


def test_the_small_tail_of_mooncake_blocks_is_shared_between_conversations(tmp_path: Path) -> None:
    lines = [
        '{"timestamp": 0, "input_length": 1000, "output_length": 5, "hash_ids": [1, 2]}',
        '{"timestamp": 9, "input_length": 700, "output_length": 5, "hash_ids": [1, 3]}',
    ]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    for scale, shared in ((1.0, 512), (0.1, 51)):
        plan = _mooncake_plan(tmp_path, scale)
        first, second = (c.turns[0].new_prompt_token_ids for c in plan.conversations)
        assert (first.size, second.size) == (round(1000 * scale), round(700 * scale))
        assert np.array_equal(first[:shared], second[:shared])
        assert not np.array_equal(first[shared : shared + 10], second[shared : shared + 10])


def _mooncake_plan(folder: Path, scale: float) -> Plan:
    source = f"{{trace: mooncake, path: {folder}/m.jsonl, length_scale: {scale}}}"
    return small_plan(folder, f"conversations={source}", "arrivals={process: trace}")


def test_real_words_reach_the_plan_with_token_ids_of_the_estimated_length(tmp_path: Path) -> None:
    messages = '[{"from": "human", "value": "How far is it?"}, {"from": "gpt", "value": "Far."}]'
    (tmp_path / "s.json").write_text(f'[{{"conversations": {messages}}}]')
    source = f"{{trace: sharegpt-json, path: {tmp_path}/s.json}}"
    (conversation,) = small_plan(tmp_path, f"conversations={source}").conversations
    (turn,) = conversation.turns
    assert turn.prompt_text == "How far is it?"
    assert (turn.new_prompt_token_ids.size, turn.num_output_tokens) == (4, 1)


def test_a_replayed_trace_keeps_its_instants_and_pauses(tmp_path: Path) -> None:
    rows = ["10,a,2,100,20", "12,b,1,7,7", "15.5,a,4,150,10"]
    header = "Timestamp,Session ID,Elapsed time,Request tokens,Response tokens"
    (tmp_path / "b.csv").write_text("\n".join([header, *rows]))
    plan = small_plan(
        tmp_path,
        f"conversations={{trace: burstgpt, path: {tmp_path}/b.csv}}",
        "arrivals={process: trace, scale: 0.5}",
        "think_time={distribution: trace}",
    )
    assert [conversation.start_at_s for conversation in plan.conversations] == [0.0, 1.0]
    assert [turn.think_time_s for turn in plan.conversations[0].turns] == [0.0, 3.5]
    assert lengths(plan) == [[(100, 20), (30, 10)], [(7, 7)]]


def test_a_relative_trace_path_starts_at_the_workload_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("t_s,context_tokens,generated_tokens\n0,3,4\n")
    text = SMALL.replace("source: sharegpt-like, count: 12", "trace: azure, path: a.csv")
    assert lengths(small_plan(tmp_path, text=text)) == [[(3, 4)]]
