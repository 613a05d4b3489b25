"""Ends an answer: text is let through only when no stop string can still begin in it."""

from __future__ import annotations

from collections.abc import Sequence


class StopStrings:
    """Cuts a growing text before the stop string that is complete first.

    Of several that end at the same character the longest counts. The result does not depend on
    how the text was cut into pieces.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._longest_held = max((len(stop) for stop in stops), default=1) - 1
        self._held = ""  # might be the beginning of a stop string
        self.is_stopped = False

    def push(self, text: str) -> str:
        """Returns what of the text so far, not yet returned, can be shown. Nothing follows a
        stop."""
        assert not self.is_stopped, "text after a stop string"
        if not self._stops:
            return text
        pending = self._held + text
        matches = [
            (start + len(stop), start) for stop in self._stops if (start := pending.find(stop)) >= 0
        ]
        if matches:
            self.is_stopped = True
            self._held = ""
            return pending[: min(matches)[1]]
        cut = len(pending) - self._num_held(pending)
        self._held = pending[cut:]
        return pending[:cut]

    def flush(self) -> str:
        """Returns what was held back: the answer has ended by itself, so it was no stop string."""
        rest, self._held = self._held, ""
        return rest

    def _num_held(self, pending: str) -> int:
        """Returns the length of the longest end of `pending` that a stop string begins with."""
        for length in range(min(self._longest_held, len(pending)), 0, -1):
            if any(stop.startswith(pending[-length:]) for stop in self._stops):
                return length
        return 0
