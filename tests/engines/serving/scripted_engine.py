"""An engine whose answers are written down beforehand, behind `EngineThread`'s interface.

A real thread that steps all live requests together; what a request is answered, and how many
tokens a step gives it, is a function of the request.
"""

from __future__ import annotations

import codecs
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from engines.core.request import FinishReason, Request, RequestOutput
from engines.core.stats import EngineStats
from engines.serving.chat_template import ChatTemplateError

EOS = 256
VOCAB_SIZE = 257


class ByteTokenizer:
    """A token is a byte of UTF-8; 256 ends the answer."""

    eos_token_ids = frozenset({EOS})

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def apply_chat_template(self, messages: Sequence[dict[str, str]]) -> list[int]:
        if messages[0]["role"] == "assistant":
            raise ChatTemplateError("the first must not be the assistant's")
        return self.encode("".join(f"<{m['role']}>{m['content']}" for m in messages))


class ByteDetokenizer:
    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def push(self, token_ids: Sequence[int]) -> str:
        return self._decoder.decode(bytes(i for i in token_ids if i != EOS))

    def finish(self) -> str:
        return "\ufffd" if self._decoder.getstate()[0] else ""


def echo(request: Request) -> list[int]:
    """The prompt, then the end of the sequence."""
    return [*request.prompt_token_ids, EOS]


@dataclass
class ScriptedEngine:
    on_outputs: Callable[[list[RequestOutput]], None]
    on_failure: Callable[[BaseException], None]
    answer: Callable[[Request], list[int]] = echo
    tokens_per_step: int = 1
    step_limit: int | None = None  # stalls for ever after so many steps
    step_s: float = 0.0
    num_cached_tokens: int = 0

    submitted: list[Request] = field(default_factory=list)
    aborted: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)
    is_stopped: bool = False

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self._left: dict[str, Iterator[int]] = {}  # tokens still to come
        self._failure: BaseException | None = None
        self._stats = EngineStats(num_device_blocks=8, num_used_device_blocks=2)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def submit(self, request: Request) -> None:
        with self._changed:
            self.submitted.append(request)
            self._left[request.request_id] = iter(self._answer_to(request))
            self._changed.notify_all()

    def abort(self, request_id: str) -> None:
        with self._changed:
            self.aborted.append(request_id)
            self._left.pop(request_id, None)
            self._changed.notify_all()

    def end(self, request_id: str) -> None:
        with self._changed:
            self.ended.append(request_id)
            self._left.pop(request_id, None)
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self.is_stopped = True
            self._changed.notify_all()
        self._thread.join()

    def fail(self, failure: BaseException) -> None:
        with self._changed:
            self._failure = failure
            self._changed.notify_all()

    def stats(self) -> EngineStats:
        return self._stats

    def wait_for(self, is_so: Callable[[], bool]) -> bool:
        """Whether it came true within two minutes."""
        with self._changed:
            return self._changed.wait_for(is_so, timeout=120)

    def _answer_to(self, request: Request) -> list[int]:
        tokens = self.answer(request)
        if request.sampling.ignore_eos:
            tokens = [token for token in tokens if token != EOS]
            tokens = tokens * (request.sampling.max_tokens // max(1, len(tokens)) + 1)
        return tokens[: request.sampling.max_tokens]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._has_something_to_do)
                if self._failure is not None:
                    break
                if self.is_stopped:
                    return
                outputs = [self._step(request_id) for request_id in list(self._left)]
                self.batch_sizes.append(len(outputs))
                self._count(outputs)
                self._changed.notify_all()
            self.on_outputs(outputs)
            threading.Event().wait(self.step_s)
        self.on_failure(self._failure)

    def _has_something_to_do(self) -> bool:
        if self._failure is not None or self.is_stopped:
            return True
        may_step = self.step_limit is None or len(self.batch_sizes) < self.step_limit
        return bool(self._left) and may_step

    def _step(self, request_id: str) -> RequestOutput:
        left = self._left[request_id]
        now = list(islice(left, self.tokens_per_step))
        finish_reason = None
        if left.__length_hint__() == 0:
            del self._left[request_id]
            finish_reason = FinishReason.STOP if now[-1:] == [EOS] else FinishReason.LENGTH
        return RequestOutput(
            request_id=request_id,
            token_ids=now,
            finish_reason=finish_reason,
            num_prompt_tokens=0,  # the server counts its own
            num_cached_tokens=self.num_cached_tokens,
        )

    def _count(self, outputs: list[RequestOutput]) -> None:
        num_tokens = sum(len(output.token_ids) for output in outputs)
        self._stats = replace(
            self._stats,
            num_running=len(self._left),
            num_steps=self._stats.num_steps + 1,
            num_generated_tokens=self._stats.num_generated_tokens + num_tokens,
        )
