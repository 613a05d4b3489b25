"""The servers of an endpoint, and which of them is asked a turn."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import count

from engines.api import Endpoint
from suite.driver.pool import Pool
from suite.driver.request_writer import RequestWriter
from suite.driver.target import Target
from workloads.plan_parts import Conversation


@dataclass(frozen=True, slots=True)
class Route:
    """The way to one server."""

    pool: Pool
    writer: RequestWriter


class Routes:
    """All of them, in the file's order. One loop, one thread."""

    def __init__(
        self, endpoint: Endpoint, loop: asyncio.AbstractEventLoop, *, worker: int = 0
    ) -> None:
        self._is_by_conversation = endpoint.balance == "conversation"
        self._places: dict[str, int] = {}  # by conversation
        self._turns = count(worker)  # workers begin with different servers
        targets = [Target.from_url(url, endpoint.proxy, endpoint.tls) for url in endpoint.base_urls]
        self._routes = [
            Route(Pool(target, loop), RequestWriter(endpoint, target)) for target in targets
        ]

    def next_place(self, conversation: Conversation, index: int) -> int | None:
        """Returns the place of the server that is asked now, `index` being the conversation's place
        in the plan; None where there is but one. A branch is asked where what it goes on from
        was."""
        if len(self._routes) == 1:
            return None
        if not self._is_by_conversation:
            return next(self._turns) % len(self._routes)
        branch, place = conversation.branch, index % len(self._routes)
        if branch is not None and branch.keeps_history:
            place = self._places.get(branch.conversation_id, place)
        return self._places.setdefault(conversation.conversation_id, place)

    def at(self, place: int | None) -> Route:
        return self._routes[place or 0]

    def close(self) -> None:
        for route in self._routes:
            route.pool.close()
