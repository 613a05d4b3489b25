"""ShareGPT lengths: a csv of token counts, a turn a row.

It has one row a turn, `conv_id, turn, new_prompt_tokens, output_tokens` and, if it likes,
`context_tokens` (the whole prompt, history included). The flat public form of project-etalon,
`num_prefill_tokens, num_decode_tokens`, is linked here: a row continues the conversation of the
row before it exactly when its prefill exceeds that row's prefill and decode together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.files import Row, csv_rows

TURNS_SOURCE = (
    "ShareGPT turn lengths: github.com/project-etalon/etalon, data/processed_traces "
    "(see docs/workloads.md, Traces)"
)
LINKED = ("conv_id", "turn", "new_prompt_tokens", "output_tokens")
FLAT = ("num_prefill_tokens", "num_decode_tokens")
LONG_LATER_PROMPT = 1024


def read_sharegpt_turns(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    turns: list[TurnShape] = []
    linked = _Linker()
    for row in csv_rows(path, TURNS_SOURCE, (LINKED, FLAT)):
        turn, is_first = linked.turn(row, tally)
        if is_first and turns:
            yield ConversationShape(turns=tuple(turns))
            turns = []
        elif turn.num_new_prompt_tokens > LONG_LATER_PROMPT and not is_first:
            tally[f"later prompts over {LONG_LATER_PROMPT} tokens (may hold a dropped turn)"] += 1
        turns.append(turn)
    if turns:
        yield ConversationShape(turns=tuple(turns))


@dataclass(slots=True)
class _Linker:
    """Which row belongs to which conversation; holds what the row before it left behind."""

    conversation: str | None = None
    num_turns: int = 0
    context: int = 0  # tokens after the previous row's answer

    def turn(self, row: Row, tally: Tally) -> tuple[TurnShape, bool]:
        is_flat = "conv_id" not in row.values
        turn, is_first = self._flat(row) if is_flat else self._linked(row, tally)
        self.context = (0 if is_first else self.context) + turn.num_tokens
        return turn, is_first

    def _flat(self, row: Row) -> tuple[TurnShape, bool]:
        prefill, output = row.integer(FLAT[0], 1), row.integer(FLAT[1], 1)
        is_first = prefill <= self.context or self.context == 0
        new = prefill if is_first else prefill - self.context
        return TurnShape(num_new_prompt_tokens=new, num_output_tokens=output), is_first

    def _linked(self, row: Row, tally: Tally) -> tuple[TurnShape, bool]:
        number, conversation = row.integer("turn", 1), row.text("conv_id")
        is_first = conversation != self.conversation
        expected = 1 if is_first else self.num_turns + 1
        if number != expected:
            raise row.error(f"turn must be {expected} in conversation {conversation}, got {number}")
        self.conversation, self.num_turns = conversation, number
        turn = TurnShape(
            num_new_prompt_tokens=row.integer("new_prompt_tokens", 1),
            num_output_tokens=row.integer("output_tokens", 1),
        )
        history = 0 if is_first else self.context
        if "context_tokens" in row.values:
            context = row.integer("context_tokens", 1)
            if context != history + turn.num_new_prompt_tokens:
                tally["turns whose context_tokens is not history + new prompt (not used)"] += 1
        return turn, is_first
