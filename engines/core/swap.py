"""Moving KV between the two pools: from block lists to copy runs, to transfers in flight.

Flights are polled once a step and waited for only where somebody needs their blocks now, and then
only those flights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count, repeat
from operator import sub

from engines.core.device import BlockRun, Device, Direction
from engines.core.flight import Flight
from engines.core.request import Request
from engines.core.settings import Copy
from engines.core.transfer_log import TransferRecord, Waited


def copy_runs(sources: Sequence[int], targets: Sequence[int], copy: Copy) -> list[BlockRun]:
    """Returns the copies that move block sources[i] to targets[i], for all i.

    `per_block`: one each. All others: neighbours on BOTH sides go together.
    """
    if copy == "per_block" or not sources:
        cells = zip(sources, targets, repeat(1, len(sources)), strict=True)
    else:
        starts = [0, *_breaks(sources, targets)]
        sizes = map(sub, [*starts[1:], len(sources)], starts)
        places = (map(blocks.__getitem__, starts) for blocks in (sources, targets))
        cells = zip(*places, sizes, strict=True)
    return list(map(_make_block_run, cells))


# Of a tuple, without a Python frame for each: there may be millions.
_make_block_run = partial(tuple.__new__, BlockRun)


def _breaks(sources: Sequence[int], targets: Sequence[int]) -> list[int]:
    """Returns where a block is no neighbour of the one before it, on either side."""
    steps = zip(count(1), sources, sources[1:], targets, targets[1:], strict=False)
    return [
        i
        for i, source, next_source, target, next_target in steps
        if next_source - source != 1 or next_target - target != 1
    ]


@dataclass(slots=True)
class SwapCosts:
    """What moved since the last `take_costs`, and how long the engine stood idle for it."""

    num_swap_out_blocks: int = 0
    num_swap_in_blocks: int = 0
    num_copy_runs: int = 0
    num_copies: int = 0
    num_copied_bytes: int = 0
    num_conflicts: int = 0  # flights waited for because their blocks were needed
    num_sync_swap_ins: int = 0  # waited for by choice
    num_async_swap_ins: int = 0
    num_contaminated_blocks: int = 0  # of host copies, taken for another's swap-out
    stall_s: float = 0.0


class Swapper:
    """Starts transfers, and sees that they land. `is_sync`: every one is waited for at once, as
    vLLM 0.3 does. `on_stall` hears from when to when the engine stood idle for one, `on_landed` of
    each that has landed."""

    def __init__(
        self,
        device: Device,
        copy: Copy,
        clock: Callable[[], float],
        *,
        is_sync: bool,
        on_stall: Callable[[float, float], None],
        on_landed: Callable[[Request, TransferRecord], None],
    ) -> None:
        self._device = device
        self._copy = copy
        self._clock = clock
        self._is_sync = is_sync
        self._on_stall = on_stall
        self._on_landed = on_landed
        self.num_draining = 0  # device blocks that belong to flights alone
        self._flights: list[Flight] = []  # oldest first
        self._costs = SwapCosts()
        # Of recent transfers, the queue not counted; 0 = none seen yet.
        self._seconds_per_block = dict.fromkeys(Direction, 0.0)

    def start(
        self,
        direction: Direction,
        request: Request,
        sources: Sequence[int],
        targets: Sequence[int],
        *,
        on_landed: Callable[[], None],
        device_blocks: Sequence[int] = (),
    ) -> Flight:
        """Begins to copy. `on_landed` is called once, from here, `poll` or a wait."""
        began_at = self._clock()
        runs = copy_runs(sources, targets, self._copy)
        transfer = self._device.transfer(direction, runs)
        dispatched_at = self._clock()

        def landed(record: TransferRecord) -> None:
            self._on_landed(request, record)
            on_landed()

        flight = Flight(
            direction=direction,
            transfer=transfer,
            request_id=request.request_id,
            conversation_id=request.conversation_id,
            num_blocks=len(sources),
            num_copy_runs=len(runs),
            began_at=began_at,
            dispatch_s=dispatched_at - began_at,
            on_landed=landed,
            device_blocks=device_blocks,
        )
        self.num_draining += len(device_blocks)
        self._count(flight)
        # What the device did not do behind our back, the engine stood idle for.
        self._stall(began_at, dispatched_at)
        self._flights.append(flight)
        if self._is_sync:
            self._wait(flight, Waited.BY_CHOICE, began_at=dispatched_at)
        return flight

    def poll(self) -> None:
        """Lands what has arrived; never waits."""
        under_way: set[Direction] = set()
        for flight in list(self._flights):
            if flight.direction in under_way:
                continue  # behind one that is not done: each direction is a queue
            if flight.transfer.is_done():
                self._land(flight, self._clock())
            else:
                under_way.add(flight.direction)

    def expected_s(self, flight: Flight) -> float:
        """Returns how long the flight will take with those before it in its queue, from now on at
        most."""
        queue = [each for each in self._flights if each.direction is flight.direction]
        num_blocks = sum(each.num_blocks for each in queue[: queue.index(flight) + 1])
        return num_blocks * self._seconds_per_block[flight.direction]

    def wait(self, flight: Flight) -> None:
        """Waits by choice: the batch is worth more with what this flight brings."""
        if not flight.has_landed:
            self._wait(flight, Waited.BY_CHOICE, began_at=self._clock())

    def wait_in_conflict(self, flight: Flight) -> None:
        """Waits because somebody needs this flight's blocks now."""
        if not flight.has_landed:
            self._costs.num_conflicts += 1
            self._wait(flight, Waited.IN_CONFLICT, began_at=self._clock())

    def wait_for_any(self) -> bool:
        """Waits for the oldest flight, as nothing can run before something lands; returns False
        when nothing is under way."""
        if not self._flights:
            return False
        self.wait_in_conflict(self._flights[0])
        return True

    @property
    def stalled_s(self) -> float:
        """Returns how long the engine stood idle since the last `take_costs`."""
        return self._costs.stall_s

    @property
    def has_flights(self) -> bool:
        return bool(self._flights)

    def draining_blocks(self) -> list[int]:
        return [block for flight in self._flights for block in flight.device_blocks]

    def count_swap_in(self, *, is_sync: bool) -> None:
        if is_sync:
            self._costs.num_sync_swap_ins += 1
        else:
            self._costs.num_async_swap_ins += 1

    def count_contaminated(self, num_blocks: int) -> None:
        self._costs.num_contaminated_blocks += num_blocks

    def take_costs(self) -> SwapCosts:
        costs, self._costs = self._costs, SwapCosts()
        return costs

    def _wait(self, flight: Flight, waited: Waited, *, began_at: float) -> None:
        flight.transfer.wait()
        ended_at = self._clock()
        self._stall(began_at, ended_at)
        self._land(flight, ended_at, waited, ended_at - began_at)

    def _stall(self, began_at: float, ended_at: float) -> None:
        self._costs.stall_s += ended_at - began_at
        self._on_stall(began_at, ended_at)

    def _land(
        self, flight: Flight, at: float, waited: Waited = Waited.NO, waited_s: float = 0.0
    ) -> None:
        self._flights.remove(flight)
        self.num_draining -= len(flight.device_blocks)
        flight.has_landed = True
        # A moving average over about the last eight transfers. The copying itself counts, not when
        # it was seen done: that is a step later, and waiting would always look too expensive.
        recent = self._seconds_per_block[flight.direction]
        seconds = flight.transfer.copying_s / max(1, flight.num_blocks)
        self._seconds_per_block[flight.direction] = recent + (seconds - recent) / 8
        flight.on_landed(flight.record(landed_at=at, waited=waited, waited_s=waited_s))

    def _count(self, flight: Flight) -> None:
        costs = self._costs
        costs.num_copy_runs += flight.num_copy_runs
        costs.num_copies += flight.transfer.stats.num_copies
        costs.num_copied_bytes += flight.transfer.stats.num_bytes
        if flight.direction is Direction.SWAP_OUT:
            costs.num_swap_out_blocks += flight.num_blocks
        else:
            costs.num_swap_in_blocks += flight.num_blocks
