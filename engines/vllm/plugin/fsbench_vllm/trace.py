"""A plan's priority trace, followed by the iterations of vLLM's scheduler; no vLLM, only numpy.

The same rule as `engines.core.priorities`, said again because vLLM's environment holds
nothing of this project but this folder; a test holds the two together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np


class Trace:
    """The levels by iteration. It begins with the first conversation it knows, so that warm-up
    requests do not move it."""

    def __init__(self, path: Path) -> None:
        """Reads what `engines.priority_file` wrote."""
        with np.load(path) as stored:
            self._update_frequency = float(stored["update_frequency"])
            self._levels = stored["levels"]
            names: list[str] = stored["conversation_ids"].tolist()
        self._columns = {name: column for column, name in enumerate(names)}
        self._iteration = -1  # of the last step; -1 = no known conversation was there yet
        self._row = 0
        self._has_begun = False

    def level(self, conversation_id: str | None) -> int | None:
        """Returns the conversation's level now; None for one the trace does not know."""
        column = self._columns.get(conversation_id or "")
        if column is None:
            return None
        self._has_begun = True
        return int(self._levels[self._row, column])

    def advance(self) -> bool:
        """Returns whether all levels are to be asked anew. Called before each iteration."""
        if not self._has_begun:
            return False
        self._iteration += 1
        # The small term keeps 25 · 0.04 from falling a hair short of 1.
        update = int(self._iteration * self._update_frequency + 1e-9)
        row = update % len(self._levels)
        has_changed = row != self._row
        self._row = row
        return has_changed
