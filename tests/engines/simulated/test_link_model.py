from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.device import Direction
from engines.simulated.link_model import LinkModel, LinkTransfer
from engines.simulated.profile import load_profile

LINK = load_profile("a100-qwen-32b").link
RATES = {
    Direction.SWAP_IN: (24.8e9, 11e9),
    Direction.SWAP_OUT: (25e9, 24e9),
}
MIB = 2**20

submissions = st.lists(
    st.tuples(
        st.sampled_from(list(Direction)),
        st.floats(0, 5e-3),  # after the one before
        st.integers(0, 2000),  # copies
        st.integers(1, 64 * MIB),
    ),
    min_size=1,
    max_size=8,
)
Submissions = list[tuple[Direction, float, int, int]]


def play(link: LinkModel, asked: Submissions) -> list[tuple[Direction, LinkTransfer]]:
    at, transfers = 0.0, []
    for direction, gap_s, num_copies, num_bytes in asked:
        at += gap_s
        transfer = link.submit(
            direction, calls_s=num_copies * 5e-6, num_bytes=float(num_bytes), at=at
        )
        transfers.append((direction, transfer))
    for _, transfer in transfers:
        link.run_until_done(transfer)
    return transfers


def ended(transfer: LinkTransfer) -> float:
    assert transfer.ended_at is not None
    return transfer.ended_at


def test_a_transfer_alone_takes_its_calls_and_its_bytes() -> None:
    link = LinkModel(LINK)
    transfer = link.submit(Direction.SWAP_OUT, calls_s=4032 * 5e-6, num_bytes=126 * MIB, at=1.0)
    assert link.run_until_done(transfer) == pytest.approx(1.0 + 4032 * 5e-6 + 126 * MIB / 25e9)


def test_both_directions_at_once_run_as_measured() -> None:
    link = LinkModel(LINK)
    swap_in = link.submit(Direction.SWAP_IN, calls_s=0.0, num_bytes=11e9, at=0.0)
    swap_out = link.submit(Direction.SWAP_OUT, calls_s=0.0, num_bytes=24e9, at=0.0)
    assert link.run_until_done(swap_in) == pytest.approx(1.0)
    assert link.run_until_done(swap_out) == pytest.approx(1.0)


def test_one_that_comes_later_slows_down_what_is_under_way() -> None:
    link = LinkModel(LINK)
    swap_in = link.submit(Direction.SWAP_IN, calls_s=0.0, num_bytes=24.8e9, at=0.0)
    link.submit(Direction.SWAP_OUT, calls_s=0.0, num_bytes=1e12, at=0.5)
    assert link.run_until_done(swap_in) == pytest.approx(0.5 + 12.4 / 11)


@given(submissions)
def test_nothing_is_faster_than_alone_or_slower_than_shared_all_the_time(
    asked: Submissions,
) -> None:
    last_end = dict.fromkeys(Direction, 0.0)
    for (direction, transfer), (_, _, num_copies, num_bytes) in zip(
        play(LinkModel(LINK), asked), asked, strict=True
    ):
        alone, shared = RATES[direction]
        began_at = max(transfer.submitted_at, last_end[direction])
        assert transfer.began_at == pytest.approx(began_at)
        took_s = ended(transfer) - began_at
        assert took_s >= (num_copies * 5e-6 + num_bytes / alone) * (1 - 1e-9) - 1e-12
        assert took_s <= (num_copies * 5e-6 + num_bytes / shared) * (1 + 1e-9) + 1e-12
        last_end[direction] = ended(transfer)


@given(submissions)
def test_watching_changes_nothing(asked: Submissions) -> None:
    watched = LinkModel(LINK)
    at = 0.0
    transfers = []
    for direction, gap_s, num_copies, num_bytes in asked:
        for part in (0.25, 0.5, 0.75):
            watched.follow(at + gap_s * part)
        at += gap_s
        transfers.append(
            watched.submit(direction, calls_s=num_copies * 5e-6, num_bytes=float(num_bytes), at=at)
        )
    seen = [watched.run_until_done(transfer) for transfer in transfers]
    assert seen == pytest.approx([ended(each) for _, each in play(LinkModel(LINK), asked)])


def test_a_twin_in_small_steps_agrees() -> None:
    out, into = Direction.SWAP_OUT, Direction.SWAP_IN
    asked: Submissions = [
        (out, 0.0, 500, 40 * MIB),
        (into, 1e-3, 64, 64 * MIB),
        (into, 1e-3, 2000, 1 * MIB),
        (out, 2e-3, 0, 8 * MIB),
    ]
    exact = [ended(each) for _, each in play(LinkModel(LINK), asked)]
    assert exact == pytest.approx(in_small_steps(asked, step_s=2e-6), abs=2e-5)


def in_small_steps(asked: Submissions, *, step_s: float) -> list[float]:
    """The same by hand: each step moves the first of each queue on, at the rate of that moment."""
    starts, at = [], 0.0
    for _, gap_s, _, _ in asked:
        at += gap_s
        starts.append(at)
    left = [1.0] * len(asked)
    ends = [0.0] * len(asked)
    now = 0.0
    while any(left):
        heads = {}
        for direction in Direction:
            waiting = [
                i
                for i, each in enumerate(asked)
                if each[0] is direction and left[i] and starts[i] <= now
            ]
            if waiting:
                heads[direction] = waiting[0]
        for direction, i in heads.items():
            _, _, num_copies, num_bytes = asked[i]
            alone, shared = RATES[direction]
            bytes_s = num_bytes / alone
            others = [heads[other] for other in heads if other is not direction]
            if others:
                other, _, other_copies, other_bytes = asked[others[0]]
                other_s = other_bytes / RATES[other][0]
                ratio = other_s / (other_s + other_copies * 5e-6)
                bytes_s = (1 - ratio) * num_bytes / alone + ratio * num_bytes / shared
            left[i] = max(0.0, left[i] - step_s / (num_copies * 5e-6 + bytes_s))
            if not left[i]:
                ends[i] = now + step_s
        now += step_s
    return ends
