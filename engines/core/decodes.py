"""The requests that compute one token a step, kept from step to step: the hot path.

While nobody comes or goes, a step costs each of them one turn of the loop in `take`, and its
output. Whose block ends is known beforehand; whether somebody has had its last token is asked of
each only in a step in which somebody may have.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from itertools import repeat
from operator import attrgetter

from engines.core.device import SequenceChunk
from engines.core.request import FinishReason, Request, RequestOutput


class Decodes:
    """The decoding requests and their chunks. Each has one token without KV: the one sampled last,
    or the last one of its prompt."""

    def __init__(self, block_size: int) -> None:
        self._block_size = block_size
        # The last step's chunks, which go on as they are where the blocks are the same still.
        self._chunk_of: dict[Request, SequenceChunk] = {}
        self.replace([])

    def replace(self, requests: list[Request]) -> None:
        """Makes these the decoding requests, in this order; each has the blocks for its token."""
        self.requests = requests
        self.members = frozenset(requests)
        self.num_first_tokens = 0
        self.chunks: list[SequenceChunk] = []
        self._num_steps = 0
        # In step k from here on a block ends for those with (num_computed + k) % block_size = 0.
        self._by_offset: list[list[Request]] = [[] for _ in range(self._block_size)]
        for request in requests:
            chunk = self._chunk_of.get(request)
            if chunk is None or chunk.block_table is not request.device_blocks:
                chunk = _chunk(request)
            self.chunks.append(chunk)
            if chunk.output_index == 0:
                self.num_first_tokens += 1
            self._by_offset[chunk.start % self._block_size].append(request)
            request.has_just_arrived = False
        self._chunk_of = dict(zip(requests, self.chunks, strict=True))
        self._token_ids = [chunk.token_ids for chunk in self.chunks]  # the last step's
        samplings = [each.sampling for each in requests]
        self._num_steps_to_end = min(
            (
                sampling.max_tokens - chunk.output_index
                for sampling, chunk in zip(samplings, self.chunks, strict=True)
            ),
            default=0,
        )
        eos = {each.eos_token_ids for each in samplings if not each.ignore_eos}
        self._eos_token_ids = frozenset[int]().union(*eos)
        self._request_ids = [each.request_id for each in requests]
        self._num_prompt_tokens = [len(each.prompt_token_ids) for each in requests]
        self._num_cached_tokens = [each.num_cached_tokens for each in requests]

    def take(self, token_ids: Sequence[int]) -> None:
        """Gives each request its token of this step."""
        self._num_steps += 1
        self._num_steps_to_end -= 1
        self.num_first_tokens = 0
        self._token_ids = [[token_id] for token_id in token_ids]
        self._may_end = self._num_steps_to_end <= 0 or not self._eos_token_ids.isdisjoint(token_ids)
        for request, chunk, its_token_ids in zip(
            self.requests, self.chunks, self._token_ids, strict=True
        ):
            request.num_computed += 1
            request.output_token_ids += its_token_ids
            chunk.start += 1
            chunk.output_index += 1
            chunk.token_ids = its_token_ids

    def at_block_end(self) -> list[Request]:
        """Returns those whose last block is full and who have no block for their next token yet."""
        return self._by_offset[-self._num_steps % self._block_size]

    def ended(self) -> list[Request]:
        """Returns those who have had their last token in this step, with their finish reasons
        set."""
        if not self._may_end:
            return []
        for request in self.requests:
            request.finish_reason = request.ending()
        return [each for each in self.requests if each.finish_reason is not None]

    def outputs(self) -> list[RequestOutput]:
        """Returns the outputs of the step whose tokens were taken last."""
        reasons: Iterable[FinishReason | None] = repeat(None)
        if self._may_end:
            reasons = map(_finish_reason, self.requests)
        columns = zip(  # as long as the shortest
            self._request_ids,
            self._token_ids,
            reasons,
            self._num_prompt_tokens,
            self._num_cached_tokens,
            strict=False,
        )
        return list(map(_make_output, columns))


_finish_reason = attrgetter("finish_reason")
# Without a Python frame for each: as fast again as RequestOutput(…).
_make_output = partial(tuple.__new__, RequestOutput)


def _chunk(request: Request) -> SequenceChunk:
    """Returns the request's part of the next step."""
    outputs = request.output_token_ids
    return SequenceChunk(
        request.request_id,
        outputs[-1:] or request.prompt_token_ids[-1:],
        request.num_computed,
        request.device_blocks,
        request.sampling,
        len(outputs),
    )
