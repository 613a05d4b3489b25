"""A plan's priority trace, followed by engine iterations."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from engines.api import PriorityUpdates
from engines.core.request import Request


class PriorityTraceFollower:
    """Keeps requests at the trace's levels.

    Update k takes hold at iteration ⌈k / update_frequency⌉; after the last row, row 0 again.

    FastSwitch [M]: frequency 0.02 is one update every 50 iterations.
    """

    def __init__(self, updates: PriorityUpdates) -> None:
        self._updates = updates
        self._columns = {name: i for i, name in enumerate(updates.conversation_ids)}
        self._row = 0

    def assign(self, request: Request) -> None:
        """Gives the request its level of now; one that the trace does not know keeps its own."""
        column = self._columns.get(request.conversation_id or "")
        if column is not None:
            request.priority = int(self._updates.levels[self._row, column])

    def advance(self, iteration: int, live: Iterable[Request]) -> bool:
        """Sets the priorities of the coming iteration, and returns whether they were set anew.
        Called before each."""
        # The small term keeps 25 · 0.04 from falling a hair short of 1.
        update = int(iteration * self._updates.update_frequency + 1e-9)
        row = update % len(self._updates.levels)
        if row == self._row:
            return False
        self._row = row
        self._assign_all(list(live))
        return True

    def _assign_all(self, live: list[Request]) -> None:
        columns = [self._columns.get(each.conversation_id or "", -1) for each in live]
        levels = self._updates.levels[self._row][np.array(columns, dtype=np.intp)].tolist()
        for request, column, level in zip(live, columns, levels, strict=True):
            if column >= 0:
                request.priority = level
