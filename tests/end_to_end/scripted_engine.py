"""An engine whose token instants are known exactly: a real process that streams what each request's
body asks for, faults included, and writes down the instant just before each write.

`script` in a request's body (see `Script`): pace, framing, and one fault. Put it into the
endpoint's `extra_body`.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import itemgetter
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from suite.driver.calibrate import running_server
from suite.driver.truthful_server import (
    LAST_CHUNK,
    Asked,
    Step,
    closing_events,
    event,
    framed,
    head,
    serve,
    token_event,
)


class Script(BaseModel):
    model_config = ConfigDict(extra="forbid")

    # (seconds after the request, text, how many chunks with tokens are in it): the whole answer
    writes: list[tuple[float, str, int]] | None = None
    content_type: str = "text/event-stream"
    is_left_open: bool = False  # the body has no end
    is_hang_up: bool = False  # the connection ends without it

    first_after_s: float = 0.02
    gap_s: float = 0.01
    splits_events: bool = False  # half of each event 5 ms before its end
    is_close_framed: bool = False
    is_one_at_a_time: bool = False  # who comes meanwhile waits until those before have ended
    has_token_ids: bool = True
    has_usage: bool = True
    usage_extra_tokens: int = 0  # the server claims more than it streamed
    fault: str | None = None  # error_event | disconnect | stall | no_end | 429 | 500 | plain_json
    fault_turn: int = 0
    fault_after_tokens: int = 2


def scripted(asked: Asked) -> Sequence[Step]:
    script = Script.model_validate(asked.body.get("script", {}))
    if script.writes is not None:
        return _verbatim(script, script.writes)
    if script.fault is not None and asked.turn == script.fault_turn:
        return _faulty(asked, script)
    tokens = _tokens(asked, script, asked.body["max_tokens"])
    return [*_opening(asked, script), *tokens, _closing(asked, script)]


class InTurn:
    """Answers as scripted; where the script says so one after another."""

    def __init__(self) -> None:
        self._free_at = 0.0

    def __call__(self, asked: Asked) -> Sequence[Step]:
        steps = list(scripted(asked))
        if not Script.model_validate(asked.body.get("script", {})).is_one_at_a_time:
            return steps
        now = time.monotonic()
        wait_s = max(0.0, self._free_at - now)
        self._free_at = now + wait_s + max(step.after_s for step in steps)
        return [replace(step, after_s=step.after_s + wait_s) for step in steps]


def _verbatim(script: Script, writes: Sequence[tuple[float, str, int]]) -> list[Step]:
    opening = head().replace(b"text/event-stream", script.content_type.encode())
    steps = [Step(0.0, opening)]
    for after_s, together in itertools.groupby(writes, key=itemgetter(0)):
        texts = list(together)  # one write
        content = b"".join(framed(text.encode()) for _, text, _ in texts)
        steps.append(Step(after_s, content, num_chunks=sum(num for _, _, num in texts)))
    if not script.is_left_open:
        last = b"" if script.is_hang_up else LAST_CHUNK
        steps.append(Step(steps[-1].after_s, last, is_hang_up=script.is_hang_up))
    return steps


def _frame(script: Script, data: bytes) -> bytes:
    return data if script.is_close_framed else framed(data)


def _opening(asked: Asked, script: Script) -> list[Step]:
    start = head(framing="Connection: close") if script.is_close_framed else head()
    steps = [Step(0.0, start)]
    if asked.is_chat:
        role = {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}
        steps.append(Step(0.0, _frame(script, event(role))))
    return steps


def _tokens(asked: Asked, script: Script, num_tokens: int) -> Iterator[Step]:
    if not script.has_token_ids:
        asked.body.pop("return_token_ids", None)
    for number in range(num_tokens):
        at_s = script.first_after_s + number * script.gap_s
        data = _frame(script, token_event(asked, number, 1))
        if script.splits_events:
            half = len(data) // 2
            yield Step(max(0.0, at_s - 0.005), data[:half])
            data = data[half:]
        yield Step(at_s, data, num_chunks=1)


def _closing(asked: Asked, script: Script) -> Step:
    num_tokens = asked.body["max_tokens"] + script.usage_extra_tokens
    data = closing_events(asked, num_tokens) if script.has_usage else b"data: [DONE]\n\n"
    end = b"" if script.is_close_framed else LAST_CHUNK
    end_s = script.first_after_s + (asked.body["max_tokens"] - 1) * script.gap_s
    return Step(end_s, _frame(script, data) + end, is_hang_up=script.is_close_framed)


def _faulty(asked: Asked, script: Script) -> list[Step]:
    if script.fault == "429":
        return [_refusal("429 Too Many Requests", "slow down", "Retry-After: 3\r\n")]
    if script.fault == "500":
        return [_refusal("500 Internal Server Error", "out of memory")]
    if script.fault == "plain_json":
        return [_refusal("200 OK", "no stream today")]
    steps = [*_opening(asked, script), *_tokens(asked, script, script.fault_after_tokens)]
    after_s = script.first_after_s + script.fault_after_tokens * script.gap_s
    last = {
        "error_event": Step(
            after_s, framed(event({"error": {"message": "KV cache lost"}})) + LAST_CHUNK
        ),
        "disconnect": Step(after_s, b"", is_hang_up=True),
        "stall": Step(3600.0, b""),
        "no_end": Step(after_s, LAST_CHUNK),
    }
    assert script.fault in last, f"unknown fault {script.fault}"
    return [*steps, last[script.fault]]


def _refusal(status: str, message: str, more: str = "") -> Step:
    content = b'{"error": {"message": "%s"}}' % message.encode()
    framing = f"{more}Content-Length: {len(content)}"
    start = head(status, framing=framing).replace(b"text/event-stream", b"application/json")
    return Step(0.0, start + content)


@contextmanager
def running_scripted_engine(directory: Path) -> Iterator[int]:
    """Its port; `directory`/truth.jsonl gets one line an answer (read_truth reads it)."""
    command = [sys.executable, "-m", "tests.end_to_end.scripted_engine"]
    with running_server([*command, "--directory", str(directory)], directory) as port:
        yield port


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, required=True)
    serve(parser.parse_args().directory, InTurn())
