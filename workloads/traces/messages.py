"""Conversations as the OpenAI API takes them: `messages` with roles, and `tools`; a JSON array of
conversations, one a line (as for fine-tuning and batches), or a single one.

Each answer of an assistant ends a turn; what stands between two answers (system, user, tool) is
what the later turn adds. Answers are the server's own: of the file's only the length counts, and
the tool calls, whose results follow. Keys of this project's own give what the API has no words
for; docs/workloads.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from workloads.plan_parts import FRONT_ROLES, TOOLS_ROLE, Message
from workloads.shapes import BranchShape, ConversationShape, Tally, TurnShape
from workloads.traces.files import Row
from workloads.traces.json_items import json_items
from workloads.traces.spoken import ESTIMATED, estimated_tokens, printable, turn_of
from workloads.traces.tool_calls import calls_of, joining, tools_of

SOURCE = (
    "conversations as OpenAI messages, e.g. a fine-tuning file (see docs/workloads.md, Messages)"
)
ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
KEPT_FIELDS = ("name", "tool_call_id")
LIMITS = ("max_tokens", "max_completion_tokens")  # the last answer's length, where none is given
RESULT_ROLES = frozenset({"tool", "function"})
UNANSWERED = "messages after the last answer (not asked)"
REPEATED = "answers without anything asked before them (left out)"
NOT_TEXT = "parts of messages that are no text (left out)"
NO_ANSWER = "conversations without an answer or max_tokens (skipped)"


def read_messages(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    started = 0
    for where, item in json_items(path, SOURCE):
        row = _conversation_row(where, item)
        shape = _Reader(row, tally).conversation()
        if shape is None:
            tally[NO_ANSWER] += 1
            continue
        tally[ESTIMATED] += sum(len(each.turns) for each in shape.session())
        if shape.start_us is not None:
            if shape.start_us < started:
                raise row.error("start_s must not be before that of the conversation before it")
            started = shape.start_us
        yield shape


def _conversation_row(where: str, item: Any) -> Row:
    """Returns what is said of a conversation: an object with `messages`, or in a batch the `body`
    that has them. Raises TraceError."""
    found = item
    if isinstance(found, dict) and isinstance(found.get("body"), dict):
        found = {**found["body"], **{key: found[key] for key in found if key != "body"}}
    if not isinstance(found, dict) or not isinstance(found.get("messages"), list):
        raise Row(where, {}).error("must be {messages: [{role, content}, …]}")
    return Row(where, found)


@dataclass(slots=True)
class _Asked:
    """What was said since the last answer."""

    messages: list[Message]
    delay_us: int | None = None  # before it is sent, where the file says so
    replaces_system: bool = False
    waits_for_branches: bool = False

    @property
    def is_question(self) -> bool:
        """Returns whether somebody waits for an answer: not by a system prompt or a greeting."""
        return any(each.role not in FRONT_ROLES | {"assistant"} for each in self.messages)


class _Reader:
    """Reads one conversation."""

    def __init__(self, row: Row, tally: Tally, *, has_history: bool = False) -> None:
        self._row = row
        self._has_history = has_history
        self._tally = tally
        self._turns: list[TurnShape] = []
        self._asked = _Asked(tools_of(row))

    def conversation(self) -> ConversationShape | None:
        """Raises TraceError."""
        messages: Sequence[Any] = self._row.values["messages"]  # type: ignore[assignment]
        for number, message in enumerate(messages):
            self._take(Row(f"{self._row.where}: message {number}", _checked(self._row, message)))
        self._end()
        if not self._turns:
            return None
        has_start = "start_s" in self._row.values
        start_us = self._row.instant_us("start_s", 1_000_000) if has_start else None
        branches = self._row.values.get("branches", [])
        if not isinstance(branches, list) or not all(isinstance(each, dict) for each in branches):
            raise self._row.error("branches must be a list of {after, messages}")
        return ConversationShape(
            turns=tuple(self._turns),
            start_us=start_us,
            branches=tuple(self._branches(branches)),
        )

    def _branches(self, branches: list[dict[str, object]]) -> Iterator[BranchShape]:
        """Yields those that have something to ask. Raises TraceError."""
        for number, values in enumerate(branches):
            row = _conversation_row(f"{self._row.where}: branch {number}", values)
            after = row.integer("after", 1, maximum=len(self._turns))
            history = values.get("history", True)
            if not isinstance(history, bool):
                raise row.error(f"history must be true or false, got {history!r}")
            reader = _Reader(row, self._tally, has_history=history)
            conversation = reader.conversation()
            if conversation is None:
                self._tally[NO_ANSWER] += 1
            else:
                yield BranchShape(
                    after_turn=after - 1, conversation=conversation, keeps_history=history
                )

    def _take(self, message: Row) -> None:
        text = self._text(message)
        if message.values["role"] != "assistant":
            self._ask(message, text)
            return
        calls = calls_of(message)
        if self._asked.is_question:
            self._turn(self._num_tokens(message, text + calls))
        elif not self._turns and text:  # it speaks first
            self._asked.messages.append(self._message(message, "assistant", text))
        else:
            self._tally[REPEATED] += 1
        if calls and self._turns and not self._asked.messages:
            self._asked.messages.append(joining(calls))

    def _ask(self, message: Row, text: str) -> None:
        values, asked = message.values, self._asked
        role = str(values["role"])
        if "delay_s" in values:
            delay_us = message.duration_us("delay_s")
            asked.delay_us = max(asked.delay_us or 0, delay_us)
        elif role in RESULT_ROLES:
            asked.delay_us = asked.delay_us or 0
        asked.waits_for_branches |= _is_set(message, "waits")
        said = self._message(message, role, text)
        if not _is_set(message, "replaces"):
            asked.messages.append(said)
            return
        if role not in FRONT_ROLES or any(each.role not in FRONT_ROLES for each in asked.messages):
            raise message.error("replaces is for a system message that begins a turn")
        asked.messages.append(said)
        asked.replaces_system = self._has_history or bool(self._turns)

    def _end(self) -> None:
        """Asks what is left, where the file says how long its answer is."""
        limit = next((key for key in LIMITS if self._row.values.get(key)), None)
        if self._asked.is_question and limit:
            self._turn(self._row.integer(limit, 1))
        else:
            self._tally[UNANSWERED] += sum(
                each.role != TOOLS_ROLE and not each.joins_answer for each in self._asked.messages
            )

    def _turn(self, num_output_tokens: int) -> None:
        asked = self._asked
        turn = turn_of(asked.messages, num_output_tokens)
        self._turns.append(
            replace(
                turn,
                delay_us=asked.delay_us,
                replaces_system=asked.replaces_system,
                waits_for_branches=asked.waits_for_branches,
            )
        )
        self._asked = _Asked([])

    def _message(self, message: Row, role: str, text: str) -> Message:
        kept = {key: message.values[key] for key in KEPT_FIELDS if key in message.values}
        return Message(
            role=role,
            num_tokens=self._num_tokens(message, text),
            text=text,
            fields=printable(json.dumps(kept, ensure_ascii=False)) if kept else None,
        )

    def _num_tokens(self, message: Row, text: str) -> int:
        if "tokens" in message.values:
            return message.integer("tokens", 1)
        return max(1, estimated_tokens(text))  # an empty one has its role

    def _text(self, message: Row) -> str:
        content = message.values.get("content")
        if content is None:
            return ""
        if isinstance(content, str):
            return printable(content)
        if not isinstance(content, list):
            raise message.error("content must be text or a list of parts")
        texts = [each["text"] for each in content if _is_text(each)]
        self._tally[NOT_TEXT] += len(content) - len(texts)
        return printable("\n".join(texts))


def _is_set(message: Row, key: str) -> bool:
    found = message.values.get(key, False)
    if not isinstance(found, bool):
        raise message.error(f"{key} must be true or false, got {found!r}")
    return found


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)


def _checked(row: Row, message: Any) -> Mapping[str, object]:
    """Raises TraceError."""
    role = message.get("role") if isinstance(message, dict) else None
    if role not in ROLES:
        raise row.error(
            f"each message must have a role of {', '.join(sorted(ROLES))}, got {role!r}"
        )
    found: Mapping[str, object] = message
    return found
