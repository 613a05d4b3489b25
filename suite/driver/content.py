"""What a chunk of an answer says: text, thought, or something else that is output all the same."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from suite.driver.event_json import unknown_shape

_TEXT_FIELDS = ("content", "text")
# Thought is output too, but no history. Servers name it differently.
_THOUGHT_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thought")
_OTHER_FIELDS = ("tool_calls", "function_call", "refusal", "audio", "images")
_PART_FIELDS = ("text", "content", "summary", "refusal")


@dataclass(slots=True)
class Said:
    text: list[str] = field(default_factory=list)
    has_thought: bool = False
    has_other: bool = False

    @property
    def is_output(self) -> bool:
        return bool(self.text) or self.has_thought or self.has_other


def said_in(delta: Mapping[str, Any], where: str) -> Said:
    """Reads what a chunk says: `delta` is a chat chunk's, or a completion's whole choice. Raises
    EventError."""
    said = Said()
    for name in _TEXT_FIELDS:
        if delta.get(name) is not None:
            _take(said, delta[name], f"{where}.{name}", is_thought=False)
    for name in _THOUGHT_FIELDS:
        if delta.get(name) is not None:
            _take(said, delta[name], f"{where}.{name}", is_thought=True)
    said.has_other |= any(delta.get(name) for name in _OTHER_FIELDS)
    return said


def _take(said: Said, value: Any, where: str, *, is_thought: bool) -> None:
    """Takes a string, a part, or a list of either, to any depth."""
    if isinstance(value, str):
        if value and is_thought:
            said.has_thought = True
        elif value:
            said.text.append(value)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            _take(said, part, f"{where}[{number}]", is_thought=is_thought)
    elif isinstance(value, dict):
        _take_part(said, value, where, is_thought=is_thought)
    elif value is not None:
        raise unknown_shape(where, value)


def _take_part(said: Said, part: Mapping[str, Any], where: str, *, is_thought: bool) -> None:
    kind = str(part.get("type", ""))
    is_thought |= "think" in kind or "reason" in kind
    texts = [name for name in _PART_FIELDS if name in part]
    thoughts = [name for name in _THOUGHT_FIELDS if name in part]
    for name in texts:
        _take(said, part[name], f"{where}.{name}", is_thought=is_thought)
    for name in thoughts:
        _take(said, part[name], f"{where}.{name}", is_thought=True)
    if part and not texts and not thoughts:  # a picture, a reference, …
        said.has_other = True
