"""How long KV takes over the link between GPU and host, both directions at once.

Each direction is a queue, worked off one transfer at a time. A transfer alone takes

    copies · copy_s + bytes / bytes_per_s

and while the other direction is busy, its bytes go at the shared rate for the part of the time in
which the other's bytes are on the link too. A later transfer of the other direction may so slow
down one that is under way: no end is known before it has come. Between two events (a submission,
the end of a transfer) all rates are constant, so the ends are exact.

What is queued is bounded by the blocks of the pools, which unfinished transfers own.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from engines.core.device import Direction
from engines.simulated.constants import LinkConstants


@dataclass(slots=True, eq=False)
class LinkTransfer:
    """One direction's copies on the link; `remaining` is the part still to be done, from 1 to 0."""

    submitted_at: float
    calls_s: float  # between its bytes, during which the link is free for the other direction
    alone_s: float  # its bytes at full rate …
    shared_s: float  # … and beside bytes of the other direction
    remaining: float = 1.0
    began_at: float | None = None
    ended_at: float | None = None

    @property
    def load_ratio(self) -> float:
        """Returns the share of its time alone during which its bytes are on the link."""
        total_s = self.calls_s + self.alone_s
        return self.alone_s / total_s if total_s else 0.0

    def whole_s(self, other: LinkTransfer | None) -> float:
        """Returns how long all of it takes with `other` in the other direction all the time."""
        if other is None:
            return self.calls_s + self.alone_s
        ratio = other.load_ratio
        return self.calls_s + (1.0 - ratio) * self.alone_s + ratio * self.shared_s


class LinkModel:
    """Both directions of one link. Its instants never fall: what has been seen at one is not
    changed by a later submission."""

    def __init__(self, constants: LinkConstants) -> None:
        swap_in = constants.swap_in_bytes_per_s.value, constants.shared_swap_in_bytes_per_s.value
        swap_out = constants.swap_out_bytes_per_s.value, constants.shared_swap_out_bytes_per_s.value
        self._rates = {Direction.SWAP_IN: swap_in, Direction.SWAP_OUT: swap_out}
        self._queues = {direction: deque[LinkTransfer]() for direction in Direction}
        self._at = float("-inf")  # up to when it has been followed

    def submit(
        self, direction: Direction, *, calls_s: float, num_bytes: float, at: float
    ) -> LinkTransfer:
        self.follow(at)
        alone, shared = self._rates[direction]
        transfer = LinkTransfer(
            submitted_at=at,
            calls_s=calls_s,
            alone_s=num_bytes / alone,
            shared_s=num_bytes / min(alone, shared),
        )
        self._queues[direction].append(transfer)
        if len(self._queues[direction]) == 1:
            transfer.began_at = at
        return transfer

    def follow(self, now: float) -> None:
        """Lets the transfers go on until `now`."""
        if now > self._at:
            while self._step(now):
                pass
            self._at = now

    def run_until_done(self, transfer: LinkTransfer) -> float:
        """Returns the instant at which it ends, if nothing is submitted before that."""
        while transfer.ended_at is None:
            self._step(float("inf"))
        return transfer.ended_at

    def _step(self, now: float) -> bool:
        """Lets the transfers go on to the next end of one, or to `now` if that is earlier; returns
        False where `now` came first."""
        heads = [(queue, queue[0]) for queue in self._queues.values() if queue]
        if not heads or now <= self._at:
            return False
        rates = []
        for _, head in heads:
            other = next((each for _, each in heads if each is not head), None)
            rates.append(head.whole_s(other))
        ends = [
            self._at + head.remaining * whole_s
            for (_, head), whole_s in zip(heads, rates, strict=True)
        ]
        first_end = min(ends)
        until = min(first_end, now)
        for (queue, head), whole_s, end in zip(heads, rates, ends, strict=True):
            if end <= until:
                self._end(queue, head, until)
            else:
                head.remaining -= (until - self._at) / whole_s
        self._at = until
        return until < now or first_end <= now

    @staticmethod
    def _end(queue: deque[LinkTransfer], head: LinkTransfer, at: float) -> None:
        head.remaining = 0.0
        head.ended_at = at
        queue.popleft()
        if queue:
            queue[0].began_at = at
