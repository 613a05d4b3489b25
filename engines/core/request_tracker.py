"""Follows step by step what each request's time goes to, and tells it when the request ends.

It looks once a step: a request that was in the step's batch was computing since the step began;
one that has left it, was brought in or was sent away is what its phase says. Landed swap-ins are
told by themselves, with their own instants. Stalls concern all who are in a batch: they are kept in
one list, and cut out of a request's computing time when it ends. A step with the batch of the last
one, the same object, costs nothing.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence, Set

from engines.core.device import Direction
from engines.core.request import Phase, Request
from engines.core.request_log import RequestRecord, Span, State, record_of
from engines.core.transfer_log import TransferRecord

Interval = tuple[float, float]  # began_at, ended_at


class _Life:
    """One request's states so far; the last one lasts since `since`."""

    __slots__ = ("first_token_at", "request", "since", "spans", "state")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.state = State.QUEUED
        self.since = request.arrived_at
        self.spans: list[Span] = []
        self.first_token_at: float | None = None

    def enter(self, state: State, at: float) -> None:
        """Puts the request into `state` from `at` on, or from when the last state began, if that
        was later."""
        if state is self.state:
            return
        at = max(at, self.since)
        if at > self.since:
            self.spans.append(Span(state=self.state, began_at=self.since, ended_at=at))
        elif self.spans and self.spans[-1].state is state:
            at = self.spans.pop().began_at
        self.state, self.since = state, at

    def see(self, step_began_at: float) -> None:
        """Puts the request, which was not in the batch of the step that has just ended, into the
        state it was in meanwhile."""
        request = self.request
        if request.phase is Phase.RUNNING:
            self.enter(State.HELD, step_began_at)
        elif request.phase is Phase.ARRIVING:
            copy = request.host_copy
            assert copy is not None and copy.flight is not None, f"{request.request_id} arrives"
            self.enter(State.SWAP_WAIT, copy.flight.began_at)
        else:
            was_there = request.num_preemptions > 0
            self.enter(State.PREEMPTED if was_there else State.QUEUED, step_began_at)

    def landed(self, transfer: TransferRecord) -> None:
        self.enter(State.SWAP_WAIT, transfer.began_at)
        self.enter(State.HELD, transfer.landed_at)

    def ended(self, at: float) -> list[Span]:
        """Returns all of the request's spans, the last one until now."""
        assert at >= self.since, f"{self.request.request_id} ends at {at}, before {self.since}"
        if at > self.since:
            self.spans.append(Span(state=self.state, began_at=self.since, ended_at=at))
        return self.spans


class RequestTracker:
    """Follows what every live request spends its time on. Requests are told apart by identity: a
    dict and sets of them cost no hashing of names."""

    def __init__(self, on_request: Callable[[RequestRecord], None] | None) -> None:
        self._on_request = on_request
        self._lives: dict[Request, _Life] = {}  # in the order of their submission
        self._tokenless: set[Request] = set()  # of those: without a first token
        self._batch: Set[Request] = frozenset()  # of the last step, as far as they still compute
        self._stalls: list[Interval] = []  # since the first of them arrived

    def submitted(self, request: Request) -> None:
        self._lives[request] = _Life(request)
        self._tokenless.add(request)

    def ended(self, request: Request, at: float) -> None:
        """Closes a request that ended between two steps: aborted, or ended by a stop string."""
        self._end(request, at)

    def stalled(self, began_at: float, ended_at: float) -> None:
        """Notes that the engine stood idle for a transfer. Called in the order of time."""
        if self._stalls and self._stalls[-1][1] == began_at:
            began_at, _ = self._stalls.pop()
        if self._lives and ended_at > began_at:
            self._stalls.append((began_at, ended_at))

    def landed(self, request: Request, transfer: TransferRecord) -> None:
        if transfer.direction is Direction.SWAP_IN and request in self._lives:
            self._lives[request].landed(transfer)
            self._batch -= {request}

    def stepped(
        self,
        batch: Set[Request],
        moved: list[Request],
        finished: Iterable[Request],
        began_at: float,
        ended_at: float,
    ) -> None:
        """Follows the requests over a step: those of `batch`, which nobody may alter, have their
        new tokens; `moved` were brought in or sent away."""
        if moved or batch is not self._batch:
            self._look(batch, moved, began_at, ended_at)
        for request in finished:
            self._end(request, ended_at)

    def _look(
        self, batch: Set[Request], moved: list[Request], began_at: float, ended_at: float
    ) -> None:
        lives = self._lives
        for request in batch - self._batch:
            lives[request].enter(State.COMPUTING, began_at)
        for request in {*moved, *self._batch} - batch:
            if request in lives:
                lives[request].see(began_at)
        for request in self._tokenless & batch:
            if request.output_token_ids:
                lives[request].first_token_at = ended_at
                self._tokenless.discard(request)
        self._batch = batch

    def _end(self, request: Request, at: float) -> None:
        life = self._lives.pop(request)
        self._tokenless.discard(request)
        if self._on_request is not None:
            spans = (part for span in life.ended(at) for part in _cut(span, self._stalls))
            first_token_at = life.first_token_at
            self._on_request(
                record_of(request, tuple(spans), first_token_at=first_token_at, finished_at=at)
            )
        self._forget_old_stalls()

    def _forget_old_stalls(self) -> None:
        """Drops the stalls from before the first live request arrived: nobody computed then."""
        first = next(iter(self._lives.values()), None)
        if first is None:
            self._stalls.clear()
        else:
            del self._stalls[: bisect_left(self._stalls, (first.request.arrived_at,))]


def _cut(span: Span, stalls: Sequence[Interval]) -> Iterator[Span]:
    """Returns a computing span with the stalls in it told apart; `stalls` are in order and
    disjoint."""
    if span.state is not State.COMPUTING:
        yield span
        return
    at = span.began_at
    for i in range(max(0, bisect_left(stalls, (at,)) - 1), len(stalls)):
        began_at, ended_at = max(stalls[i][0], at), min(stalls[i][1], span.ended_at)
        if began_at >= span.ended_at:
            break
        if ended_at <= began_at:
            continue
        if began_at > at:
            yield Span(state=State.COMPUTING, began_at=at, ended_at=began_at)
        yield Span(state=State.STALLED, began_at=began_at, ended_at=ended_at)
        at = ended_at
    if at < span.ended_at:
        yield Span(state=State.COMPUTING, began_at=at, ended_at=span.ended_at)
