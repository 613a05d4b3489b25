from __future__ import annotations

from argparse import Namespace

import pytest

from benchmarks import gpu
from benchmarks.wall_clock import Player, numbers
from engines.core.settings import PRESETS, CoreSettings
from tests.engines.core.memory_device import MemoryDevice
from workloads.plan import Plan

CORE = CoreSettings(
    mechanisms=PRESETS["vllm-0.3"],
    block_size=16,
    kv_tokens=1024,
    swap_tokens=10_240,
    max_batch_tokens=512,
    max_num_seqs=64,
)


@pytest.fixture
def plan(monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setattr(gpu, "THINK_TIME", {"distribution": "constant", "value": "1ms"})
    return gpu.plan_of(Namespace(conversations=8, kv_tokens=1024, length_scale=0.1, rate=500.0))


def player_of(plan: Plan) -> Player:
    device = MemoryDevice(
        block_size=16, num_device_blocks=CORE.num_device_blocks, num_host_blocks=640
    )
    return Player(plan, CORE, device)


def test_every_turn_of_the_plan_is_answered_with_its_history(plan: Plan) -> None:
    player = player_of(plan)
    player.play(1e9)
    assert len(player.turns) == sum(len(each.turns) for each in plan.conversations) > 8
    for asked in player.turns:
        planned = plan.conversations[asked.conversation].turns[: asked.turn + 1]
        assert len(asked.token_at) == planned[-1].num_output_tokens
        history = sum(turn.num_output_tokens for turn in planned[:-1])
        prompts = sum(len(turn.new_prompt_token_ids) for turn in planned)
        assert len(asked.request.prompt_token_ids) == history + prompts
    found = numbers(player)
    assert found["num_unfinished_turns"] == 0
    num_tokens = sum(turn.num_output_tokens for c in plan.conversations for turn in c.turns)
    assert found["output_tokens_per_s"] * found["duration_s"] == pytest.approx(num_tokens)


def test_what_a_limit_cuts_off_is_counted_and_waits_in_ttft(plan: Plan) -> None:
    player = player_of(plan)
    steps_left = iter([True] * 3)
    step = player._step

    def slow_step() -> None:
        if not next(steps_left, False):
            player.began_at -= 100  # the limit has passed
        step()

    player._step = slow_step  # type: ignore[method-assign]
    player.play(50.0)
    found = numbers(player)
    num_planned = sum(len(each.turns) for each in plan.conversations)
    finished = [t for t in player.turns if len(t.token_at) == t.request.sampling.max_tokens]
    assert found["num_unfinished_turns"] == num_planned - len(finished) > 0
    waiting = [t for t in player.turns if not t.token_at]
    assert found["ttft_max_s"] >= max((player.ended_at - t.due_at for t in waiting), default=0)
