"""A truthful server with a prefix cache, so that what a warm cache does to a measurement can be
seen with delays that are known.

A prompt's tokens are its words (or its token ids). Of those that stand in the cache, in whole
blocks, none is computed; each of the others takes its time before the first token. Requests do not
disturb each other. `python -m suite.driver.caching_server --directory DIR`; see `Behaviour`.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from suite.driver.truthful_server import (
    LAST_CHUNK,
    TOKEN_BASE_ID,
    Asked,
    Step,
    closing_events,
    framed,
    head,
    json_page,
    serve,
    token_event,
)

RESET_PATH = "/reset_prefix_cache"
Token = str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    block_tokens: int = 16
    num_template_tokens: int = 0  # that chat puts before the first message
    first_after_s: float = 0.01  # with a prompt that is wholly known
    s_per_token: float = 0.001  # of a prompt, that has to be computed
    gap_s: float = 0.002
    says_vllm: bool = False  # and takes `cache_salt`; else it refuses the field
    tells_cached: bool = True
    reset_status: str = "200 OK"


class PrefixCache:
    """Whole blocks, each found only behind the blocks it was computed behind."""

    def __init__(self, block_tokens: int) -> None:
        self._block_tokens = block_tokens
        self._known: set[int] = set()

    def num_found(self, tokens: Sequence[Token], salt: str) -> int:
        """Returns how many of the first tokens need not be computed; never all of them."""
        num = 0
        for block in self._blocks(tokens, salt):
            if block not in self._known:
                break
            num += self._block_tokens
        return min(num, max(0, len(tokens) - 1) // self._block_tokens * self._block_tokens)

    def keep(self, tokens: Sequence[Token], salt: str) -> None:
        self._known.update(self._blocks(tokens, salt))

    def clear(self) -> None:
        self._known.clear()

    def _blocks(self, tokens: Sequence[Token], salt: str) -> list[int]:
        """Each block's own hash, with that of all before it."""
        found, before, size = [], hash(salt), self._block_tokens
        for start in range(0, len(tokens) - size + 1, size):
            before = hash((before, tuple(tokens[start : start + size])))
            found.append(before)
        return found


class CachingServer:
    """Pages and answers for `truthful_server.serve`."""

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour
        self._cache = PrefixCache(behaviour.block_tokens)

    def page(self, path: str) -> bytes | None:
        behaviour = self._behaviour
        if path.endswith("/models"):
            owner = {"owned_by": "vllm"} if behaviour.says_vllm else {}
            model = {"id": "caching", "object": "model", **owner}
            return json_page({"object": "list", "data": [model]})
        if path == "/version" and behaviour.says_vllm:
            return json_page({"version": "0.11.0"})
        if path == RESET_PATH:
            if behaviour.reset_status.startswith("200"):
                self._cache.clear()
            return json_page({}, status=behaviour.reset_status)
        return None if path.endswith("/completions") else json_page({}, status="404 Not Found")

    def script(self, asked: Asked) -> list[Step]:
        behaviour, body = self._behaviour, asked.body
        if "cache_salt" in body and not behaviour.says_vllm:
            error = {"error": {"message": "cache_salt: extra inputs are not permitted"}}
            return [Step(0.0, json_page(error, status="400 Bad Request"))]
        prompt, salt = self._prompt(asked), str(body.get("cache_salt", ""))
        num_found, num_tokens = self._cache.num_found(prompt, salt), body["max_tokens"]
        self._cache.keep([*prompt, *_answer(asked, num_tokens)], salt)
        at_s = behaviour.first_after_s + (len(prompt) - num_found) * behaviour.s_per_token
        steps = [Step(0.0, head())]
        for number in range(num_tokens):
            steps.append(Step(at_s, framed(token_event(asked, number, 1)), num_chunks=1))
            at_s += behaviour.gap_s
        end = closing_events(
            asked,
            num_tokens,
            num_prompt_tokens=len(prompt),
            num_cached_tokens=num_found if behaviour.tells_cached else None,
        )
        return [*steps, Step(at_s, framed(end) + LAST_CHUNK)]

    def _prompt(self, asked: Asked) -> list[Token]:
        if not asked.is_chat:
            prompt = asked.body["prompt"]
            return prompt if isinstance(prompt, list) else prompt.split()
        tokens: list[Token] = [f"<{n}>" for n in range(self._behaviour.num_template_tokens)]
        for message in asked.body["messages"]:
            tokens += [f"<{message['role']}>", *message["content"].split()]
        return [*tokens, "<assistant>"]


def _answer(asked: Asked, num_tokens: int) -> list[Token]:
    if isinstance(asked.body.get("prompt"), list):
        return [TOKEN_BASE_ID + number for number in range(num_tokens)]
    return [f"w{number}" for number in range(num_tokens)]


def command(directory: Path, **behaviour: Any) -> list[str]:
    """Returns what is to be started; the keywords are Behaviour's."""
    module = ["-m", "suite.driver.caching_server"]
    return [*module, "--directory", str(directory), "--behaviour", orjson.dumps(behaviour).decode()]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--behaviour", default="{}", help="JSON, of other values than the defaults")
    given = parser.parse_args()
    server = CachingServer(Behaviour(**orjson.loads(given.behaviour)))
    serve(given.directory, server.script, server.page)
