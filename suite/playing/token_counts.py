"""Who tells how many tokens a prompt has: the server's usage, its `/tokenize`, a tokenizer's
file."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import uvloop

from engines.api import Endpoint
from engines.errors import EngineInputError
from engines.extras import install_command
from engines.identity import server_of
from suite.driver.data_plane import DataPlane, Shard
from suite.records.turn_records import TurnRecord
from workloads.plan import Plan
from workloads.plan_parts import Conversation, Message, Turn

CONCURRENCY = 2  # requests at a time
ASK_TIMEOUT_S = 120.0  # for one, at most
ALL_TIMEOUT_S = 300.0  # for all
LOOK_TIMEOUT_S = 30.0
_ANSWER = "so"  # of an assistant, between two prompts


class NotCountedError(Exception):
    """Nobody told. One line."""


class TokenCounter(Protocol):
    def first(self, texts: Sequence[str]) -> list[int]:
        """Returns the tokens of conversations' first prompts. Raises NotCountedError."""
        ...

    def with_system(self, system: str, text: str) -> int:
        """Returns the tokens of a first prompt that is a system message and a user's. Raises
        NotCountedError."""
        ...

    def later(self, first: str, second: str) -> int:
        """Returns what the second prompt of a conversation has beyond the first and its answer.
        Raises NotCountedError."""
        ...


class UsageCounter:
    """Asks as the load does, for answers of one token."""

    def __init__(self, endpoint: Endpoint, *, turn_timeout_s: float) -> None:
        self._endpoint = endpoint
        self._turn_timeout_s = turn_timeout_s

    def first(self, texts: Sequence[str]) -> list[int]:
        records = self._played([[text] for text in texts])
        counts = [_prompt_tokens(record) for record in records]
        if len(counts) < len(texts):
            raise NotCountedError("the requests took too long")
        return counts

    def with_system(self, system: str, text: str) -> int:
        said = (
            Message(role="system", num_tokens=0, text=system),
            Message(role="user", num_tokens=0, text=text),
        )
        turn = replace(_conversation(0, [text]).turns[0], prompt_text=None, messages=said)
        (record,) = self._played_conversations([replace(_conversation(0, []), turns=(turn,))])
        return _prompt_tokens(record)

    def later(self, first: str, second: str) -> int:
        records = self._played([[first, second]])
        if len(records) < 2 or records[0].num_output_tokens is None:
            raise NotCountedError(records[-1].error or "usage told no answer's tokens")
        before, after = (_prompt_tokens(record) for record in records)
        return after - before - records[0].num_output_tokens

    def _played(self, conversations: Sequence[Sequence[str]]) -> list[TurnRecord]:
        return self._played_conversations(
            [_conversation(number, each) for number, each in enumerate(conversations)]
        )

    def _played_conversations(self, conversations: Sequence[Conversation]) -> list[TurnRecord]:
        """Returns the turns, conversation by conversation. Raises NotCountedError with the words of
        the first answer that told nothing: those that it cuts short have none of their own."""
        records: list[TurnRecord] = []
        untold: list[TurnRecord] = []
        plan = Plan(
            name="lengths",
            seed=0,
            user_classes=(),
            conversations=tuple(conversations),
            closed_concurrency=CONCURRENCY,
            priorities=None,
        )
        shard = Shard.of(plan, worker=0, num_workers=1)

        async def play() -> None:
            def take(record: TurnRecord) -> None:
                records.append(record)
                if record.num_prompt_tokens is None:  # the others would not be told either
                    untold.append(record)
                    plane.stop("tokens are not counted")

            plane = DataPlane(
                shard,
                endpoint=self._endpoint,
                started_at_ns=time.monotonic_ns(),
                turn_timeout_s=min(self._turn_timeout_s, ASK_TIMEOUT_S),
                on_turn=take,
            )
            end = asyncio.get_running_loop().call_later(ALL_TIMEOUT_S, plane.stop, "too slow")
            await plane.run()
            end.cancel()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(play())
        if untold:
            _prompt_tokens(untold[0])
        place = {each.conversation_id: n for n, each in enumerate(plan.conversations)}
        return sorted(records, key=lambda each: (place[each.conversation_id], each.turn))


class ServerCounter:
    """Asks `/tokenize`, as vLLM and llama.cpp have it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._server = replace(server_of(endpoint), timeout_s=LOOK_TIMEOUT_S)

    def first(self, texts: Sequence[str]) -> list[int]:
        return [self._count([text]) for text in texts]

    def with_system(self, system: str, text: str) -> int:
        return self._count([text], system)

    def later(self, first: str, second: str) -> int:
        return self._count([first, _ANSWER, second]) - self._count([first]) - 1

    def _count(self, said: Sequence[str], system: str = "") -> int:
        asked: dict[str, Any] = {"model": self._endpoint.model}
        if self._endpoint.api == "chat":
            asked |= {"messages": _messages(said, system), "add_generation_prompt": True}
        else:  # llama.cpp's name for it too
            asked |= {
                "prompt": system + "".join(said),
                "content": system + "".join(said),
                "add_special": True,
            }
        try:
            told = json.loads(self._server.ask("POST", self._server.root_url("/tokenize"), asked))
            found = told["count"] if "count" in told else len(told["tokens"])
            return int(found)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise NotCountedError(f"/tokenize does not tell ({error})") from None


class FileCounter:
    """Reads a tokenizer of one's own: `tokenizer.json`, with its chat template beside it."""

    def __init__(self, path: Path, *, is_chat: bool) -> None:
        """Raises EngineInputError."""
        try:
            from engines.serving.tokenizer_sources import tokenizer_from_folder  # noqa: PLC0415
        except ImportError:
            raise EngineInputError(
                f"tokenizer: needs a package more: {install_command('engine')}"
            ) from None
        folder = path.parent if path.name == "tokenizer.json" else path
        self._tokenizer = tokenizer_from_folder(folder)
        self._is_chat = is_chat

    def first(self, texts: Sequence[str]) -> list[int]:
        return [self._count([text]) for text in texts]

    def with_system(self, system: str, text: str) -> int:
        return self._count([text], system)

    def later(self, first: str, second: str) -> int:
        return self._count([first, _ANSWER, second]) - self._count([first]) - 1

    def _count(self, said: Sequence[str], system: str = "") -> int:
        if self._is_chat:
            return len(self._tokenizer.apply_chat_template(_messages(said, system)))
        return len(self._tokenizer.encode(system + "".join(said)))


def _prompt_tokens(record: TurnRecord) -> int:
    """Raises NotCountedError."""
    if record.num_prompt_tokens is None:
        raise NotCountedError(record.error or "usage told no prompt's tokens")
    return record.num_prompt_tokens


def _messages(said: Sequence[str], system: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    front = [{"role": "system", "content": system}] if system else []
    return front + [{"role": roles[n % 2], "content": text} for n, text in enumerate(said)]


def _conversation(number: int, texts: Sequence[str]) -> Conversation:
    turns = [
        Turn(
            new_prompt_token_ids=np.empty(0, dtype=np.int32),
            prompt_text=text,
            num_output_tokens=1,
            think_time_s=0.0,
        )
        for text in texts
    ]
    return Conversation(
        conversation_id=f"fsbench-lengths-{number}",
        user_id="fsbench",
        user_class="fsbench",
        start_at_s=0.0,
        turns=tuple(turns),
    )
