"""Requests of a trace that knows no sessions, brought into order: a conversation of one turn each.

Three numbers a request are kept, and no object: a trace of tens of millions fits into memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from workloads.shapes import ConversationShape, TurnShape


class Requests:
    def __init__(self) -> None:
        self._at_us = array("q")
        self._prompt = array("i")
        self._output = array("i")

    def add(self, at_us: int, num_prompt_tokens: int, num_output_tokens: int) -> None:
        self._at_us.append(at_us)
        self._prompt.append(num_prompt_tokens)
        self._output.append(num_output_tokens)

    def in_order(self) -> Iterator[ConversationShape]:
        """Yields them by their instants; those of one instant as they were added."""
        order = np.argsort(np.array(self._at_us, dtype=np.int64), kind="stable")
        for place in map(int, order):
            turn = TurnShape(
                num_new_prompt_tokens=self._prompt[place], num_output_tokens=self._output[place]
            )
            yield ConversationShape(start_us=self._at_us[place], turns=(turn,))
