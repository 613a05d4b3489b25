"""Plans in virtual time: known answers of the cost model, and the same records each time."""

from __future__ import annotations

import pytest
from benchmarks.play import Player, numbers
from benchmarks.virtual_device import CostModel, VirtualDevice

from benchmarks.sweep import plan_of
from engines.fastswitch.device import BlockRun, Direction
from engines.fastswitch.settings import PRESETS, CoreSettings

CORE = CoreSettings(
    mechanisms=PRESETS["fastswitch"],
    block_size=16,
    kv_tokens=8192,
    swap_tokens=81_920,
    max_batch_tokens=512,
    max_num_seqs=64,
)


def test_a_transfer_starts_when_the_earlier_ones_of_its_direction_are_done() -> None:
    cost = CostModel(num_layers=1, kv_bytes_per_token=1, copy_s=1.0, link_bandwidth=16.0)
    device = VirtualDevice(cost, block_size=16, num_device_blocks=9, num_host_blocks=9)
    run = BlockRun(source=0, target=0, num_blocks=3)  # two copies of 1 s, 48 bytes at 16 a second
    first, second = (device.transfer(Direction.SWAP_OUT, [run]) for _ in range(2))
    other = device.transfer(Direction.SWAP_IN, [run])
    assert (first.duration_s, second.duration_s, second.copying_s) == (5.0, 10.0, 5.0)
    assert other.duration_s == 5.0
    second.wait()
    assert device.now == 10.0 and first.is_done() and other.is_done()


def test_the_same_plan_is_played_the_same_to_the_bit_and_keeps_its_instants() -> None:
    plan = plan_of(6, 1.0, 0.04, 3)
    players = [Player(plan, CORE, CostModel()) for _ in range(2)]
    for player in players:
        player.play()
    first, second = (player.records for player in players)
    assert first == second
    due = {(c.conversation_id, 0): c.start_at_s for c in plan.conversations}
    done = {(r.conversation_id, r.turn): r.done_at for r in first}
    for conversation in plan.conversations:
        for i, turn in list(enumerate(conversation.turns))[1:]:
            previous = done[conversation.conversation_id, i - 1]
            assert previous is not None
            due[conversation.conversation_id, i] = previous + turn.think_time_s
    assert {(r.conversation_id, r.turn): r.scheduled_at for r in first} == pytest.approx(due)
    assert all(r.token_at[0] > r.scheduled_at for r in first)
    assert numbers(plan, players[0])["num_turns"] == plan.num_turns
