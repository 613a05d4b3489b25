"""One request's life on the server's side: tokens become text, a stop string ends it.

Knows neither HTTP nor the engine; lives in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engines.core.request import FinishReason, Request, RequestOutput
from engines.serving.errors import ApiError
from engines.serving.stop_strings import StopStrings


class IncrementalDetokenizer(Protocol):
    def push(self, token_ids: Sequence[int], /) -> str: ...
    def finish(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one step added to an answer."""

    text: str  # empty while a character is incomplete or a stop string may begin
    token_ids: list[int]
    finish_reason: FinishReason | None  # set on the last piece: stop or length


class Generation:
    """`deliver` gets one piece a step, at once; `done` resolves after the last one."""

    def __init__(
        self,
        request: Request,
        *,
        detokenizer: IncrementalDetokenizer,
        stops: Sequence[str],
        deliver: Callable[[Piece, Generation], None],
        clock: Callable[[], float],
    ) -> None:
        self.request = request
        self.first_token_at: float | None = None
        self.num_output_tokens = 0
        self.num_cached_tokens = 0
        self.finish_reason: FinishReason | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._detokenizer = detokenizer
        self._stops = StopStrings(stops)
        self._deliver = deliver
        self._clock = clock

    def receive(self, output: RequestOutput) -> None:
        """Take one step's tokens. The last output, or a stop string, finishes the generation."""
        assert self.finish_reason is None, f"{self.request.request_id}: output after the last"
        if output.finish_reason is FinishReason.ABORT:
            self.fail(ApiError("the engine gave this request up; send it again", status=500))
            return
        if self.first_token_at is None:
            self.first_token_at = self._clock()
        text, token_ids = self._show(output)
        self.finish_reason = FinishReason.STOP if self._stops.is_stopped else output.finish_reason
        self.num_output_tokens += len(token_ids)
        self.num_cached_tokens = output.num_cached_tokens
        piece = Piece(text=text, token_ids=token_ids, finish_reason=self.finish_reason)
        self._deliver(piece, self)
        if self.finish_reason is not None and not self.done.done():
            self.done.set_result(None)

    def fail(self, error: ApiError) -> None:
        if not self.done.done():
            self.done.set_exception(error)

    def usage(self) -> dict[str, object]:
        num_prompt = len(self.request.prompt_token_ids)
        return {
            "prompt_tokens": num_prompt,
            "completion_tokens": self.num_output_tokens,
            "total_tokens": num_prompt + self.num_output_tokens,
            "prompt_tokens_details": {"cached_tokens": self.num_cached_tokens},
        }

    def _show(self, output: RequestOutput) -> tuple[str, list[int]]:
        """Returns the text that can be shown now, and the tokens up to the one that completed a
        stop.

        Stop strings are looked for after the first `min_tokens` tokens only, as in vLLM.
        """
        shown = []
        for index, token_id in enumerate(output.token_ids):
            if self._is_closing(output, index):
                break  # end of sequence: a token, but no text
            text = self._detokenizer.push([token_id])
            is_early = self.num_output_tokens + index < self.request.sampling.min_tokens
            shown.append(text if is_early else self._stops.push(text))
            if self._stops.is_stopped:
                return "".join(shown), output.token_ids[: index + 1]
        if output.finish_reason is not None:
            shown.append(self._stops.push(self._detokenizer.finish()))
            shown.append(self._stops.flush())
        return "".join(shown), output.token_ids

    def _is_closing(self, output: RequestOutput, index: int) -> bool:
        return (
            output.finish_reason is FinishReason.STOP
            and index == len(output.token_ids) - 1
            and output.token_ids[index] in self.request.sampling.eos_token_ids
        )
