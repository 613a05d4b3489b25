"""How many tokens the server says there were, under whatever names and in whatever place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from suite.driver.event_json import unknown_shape

MAX_COUNT = 2**31 - 1  # what the records have room for
_PROMPT = ("prompt_tokens", "input_tokens")
_OUTPUT = ("completion_tokens", "output_tokens", "generated_tokens", "predicted_n")
_CACHED = ("cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens", "cache_n")
_PROMPT_DETAILS = ("prompt_tokens_details", "input_tokens_details")
_OUTPUT_DETAILS = ("completion_tokens_details", "output_tokens_details")
_UNKNOWN = ("", "null", "none", "n/a", "unknown")
# Of a chunk of thought that was streamed; where fewer chunks came than that, it was a summary.
_MAX_TOKENS_PER_CHUNK = 16


@dataclass(slots=True)
class Usage:
    """Grows event by event: servers tell it once, at the end, or again and again as it rises."""

    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_output_tokens: int | None = None  # thought included, shown or hidden
    num_thought_tokens: int | None = None
    num_told: int = 0  # events that told of output

    def take(self, chunk: Mapping[str, Any]) -> None:
        """Takes what an event tells, if anything. Raises EventError."""
        for where, told in _usages(chunk):
            if not isinstance(told, dict):
                raise unknown_shape(where, told)
            self._take_usage(told, where)

    def _take_usage(self, told: Mapping[str, Any], where: str) -> None:
        prompt_details = _details(told, _PROMPT_DETAILS)
        output_details = _details(told, _OUTPUT_DETAILS)
        self.num_prompt_tokens = _more(self.num_prompt_tokens, _count(told, _PROMPT, where))
        output = _count(told, _OUTPUT, where)
        self.num_told += bool(output)
        self.num_output_tokens = _more(self.num_output_tokens, output)
        for source in (told, prompt_details):
            self.num_cached_tokens = _more(self.num_cached_tokens, _count(source, _CACHED, where))
        thought = _count(output_details, ("reasoning_tokens",), where)
        if thought is None:
            thought = _count(told, ("reasoning_tokens",), where)
        self.num_thought_tokens = _more(self.num_thought_tokens, thought)

    def num_hidden_tokens(self, num_thought_chunks: int) -> int:
        """Returns the tokens of thought that were counted and not streamed."""
        thought = self.num_thought_tokens or 0
        return thought if num_thought_chunks * _MAX_TOKENS_PER_CHUNK < thought else 0

    def num_streamed_tokens(self, num_thought_chunks: int) -> int | None:
        """Returns the output without what is hidden: some servers count that in, some beside it;
        None where nobody can tell which."""
        total, hidden = self.num_output_tokens, self.num_hidden_tokens(num_thought_chunks)
        if hidden and total == hidden:
            return None
        return total - hidden if total is not None and total > hidden else total


def _usages(chunk: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields (place, usage): at the top, Groq's, and Moonshot's in the choice; llama.cpp's timings
    where there is nothing else."""
    found: list[tuple[str, Any]] = [("usage", chunk.get("usage"))]
    groq = chunk.get("x_groq")
    if isinstance(groq, dict):
        found.append(("x_groq.usage", groq.get("usage")))
    choices = chunk.get("choices")
    for number, choice in enumerate(choices if isinstance(choices, list) else ()):
        if isinstance(choice, dict):
            found.append((f"choices[{number}].usage", choice.get("usage")))
    told = [(where, usage) for where, usage in found if usage]
    if not told and chunk.get("timings"):
        told = [("timings", chunk["timings"])]
    yield from told


def _details(told: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    found: Any = next((told[name] for name in names if told.get(name)), None)
    return found if isinstance(found, dict) else {}


def _count(told: Mapping[str, Any], names: tuple[str, ...], where: str) -> int | None:
    """Returns the first that is told. Raises EventError where it is no count at all; NaN and −1 are
    how some say that they do not know."""
    name = next((name for name in names if told.get(name) is not None), None)
    if name is None:
        return None
    value = told[name]
    if isinstance(value, str) and value.strip().lower() in _UNKNOWN:
        return None
    number = _parsed(value) if isinstance(value, str) else value
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise unknown_shape(f"{where}.{name}", value)
    if not 0 <= number < float("inf"):  # NaN is neither
        return None
    if number != int(number) or number > MAX_COUNT:
        raise unknown_shape(f"{where}.{name}", value)
    return int(number)


def _parsed(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _more(known: int | None, told: int | None) -> int | None:
    """Returns the higher one: counts only rise, and a zero at the end takes nothing back."""
    return told if known is None else max(known, told or 0)
