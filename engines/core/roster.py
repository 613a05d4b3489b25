"""Who is where: the live requests in the policy's order, kept sorted from step to step.

    outside    hold no device blocks: WAITING or SWAPPED
    arriving   hold device blocks, their KV is on its way
    running    hold device blocks with their KV in them

A step that moves nobody costs nothing here, however many wait outside. Within a step those who are
sent away stand aside, for they may not come back in the same step: `settle` puts them outside.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator

from engines.core.policy import Policy
from engines.core.request import Phase, Request


class Roster:
    def __init__(self, policy: Policy) -> None:
        self.running: list[Request] = []  # sorted
        self.outside: list[Request] = []  # sorted
        self.arriving: list[Request] = []  # some of them may have arrived since the last step
        self.has_changed = False  # `running` did, since somebody last set this to False
        self.policy = policy
        self._key = policy.key
        self._sent_away: list[Request] = []
        self._moved: list[Request] = []
        self._num_swapped = 0  # outside

    def __iter__(self) -> Iterator[Request]:
        for requests in (self.running, self.arriving, self.outside):
            yield from requests

    @property
    def num_running(self) -> int:
        return len(self.running) + len(self.arriving) - self.num_arriving

    @property
    def num_arriving(self) -> int:
        return sum(each.phase is Phase.ARRIVING for each in self.arriving)

    @property
    def num_swapped(self) -> int:
        return self._num_swapped

    @property
    def num_waiting(self) -> int:
        return len(self.outside) - self._num_swapped

    def holders(self) -> list[Request]:
        """Returns those whose KV is on the device, in no order."""
        return self.running + [each for each in self.arriving if each.phase is Phase.RUNNING]

    def enter(self, request: Request) -> None:
        """Puts a request outside, and makes it live."""
        insort(self.outside, request, key=self._key)
        self._num_swapped += request.phase is Phase.SWAPPED

    def leave(self, request: Request) -> None:
        """Removes a request that has ended; called before its phase says so."""
        if request.phase is Phase.ARRIVING or request in self.arriving:
            self.arriving.remove(request)
        elif request.phase is Phase.RUNNING:
            del self.running[self._place(request, self.running)]
            self.has_changed = True
        else:
            del self.outside[self._place(request, self.outside)]
            self._num_swapped -= request.phase is Phase.SWAPPED

    def reorder(self) -> None:
        """Sorts everybody after priorities were set anew."""
        self.running.sort(key=self._key)
        self.outside.sort(key=self._key)
        self.has_changed = True

    def land(self) -> None:
        """Moves those whose KV has arrived to those who run."""
        for request in [each for each in self.arriving if each.phase is Phase.RUNNING]:
            self.arriving.remove(request)
            self.run(request)

    def take_in(self, request: Request) -> None:
        """Takes one from those outside; called before its phase says so."""
        del self.outside[self._place(request, self.outside)]
        self._num_swapped -= request.phase is Phase.SWAPPED
        self._moved.append(request)

    def run(self, request: Request) -> None:
        insort(self.running, request, key=self._key)
        self.has_changed = True

    def arrive(self, request: Request) -> None:
        self.arriving.append(request)

    def send_away(self, request: Request) -> None:
        """Takes one from those who run; its phase may be anything else already."""
        del self.running[self._place(request, self.running)]
        self._sent_away.append(request)
        self._moved.append(request)
        self.has_changed = True

    def settle(self) -> None:
        """Puts those who were sent away outside, at a step's end."""
        for request in self._sent_away:
            self.enter(request)
        self._sent_away.clear()

    def take_moved(self) -> list[Request]:
        """Returns who has come in or was sent away since the last call."""
        moved, self._moved = self._moved, []
        return moved

    def _place(self, request: Request, requests: list[Request]) -> int:
        place = bisect_left(requests, self._key(request), key=self._key)
        assert requests[place] is request, f"{request.request_id} is out of order"
        return place
