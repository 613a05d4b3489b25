"""Service that users have had, in weighted tokens, from what their requests have computed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engines.core.request import Request


class ServiceMeter:
    """Says how much service a request has had since it was last asked about: its prompt's tokens as
    they are computed or found, its answer's as they come, divided by its class's weight. What is
    computed again after a preemption is not the user's to pay."""

    def __init__(
        self,
        *,
        input_weight: float,
        output_weight: float,
        class_weights: Mapping[str, float],
        counts_cached: bool = True,
    ) -> None:
        """Makes a meter; without `counts_cached` a prompt's tokens whose KV was there are free."""
        self._input_weight = input_weight
        self._output_weight = output_weight
        self._class_weights = class_weights
        self._counts_cached = counts_cached
        self._had: dict[Request, float] = {}

    def charge(
        self, live: Iterable[Request], user_of: Mapping[Request, str], to: dict[str, float]
    ) -> None:
        """Adds to each user's entry what his requests have had since the last call."""
        take = self.take
        for request in live:
            if request.device_blocks:
                to[user_of[request]] += take(request)

    def take(self, request: Request) -> float:
        """Returns the service since the last call for this request."""
        had = self._had.get(request, 0.0)
        now_has = self._service(request)
        if now_has <= had:
            return 0.0
        self._had[request] = now_has
        return now_has - had

    def forget(self, request: Request) -> None:
        self._had.pop(request, None)

    def _service(self, request: Request) -> float:
        num_prompt = min(request.num_computed, len(request.prompt_token_ids))
        if not self._counts_cached:
            num_prompt = max(0, num_prompt - request.num_cached_tokens)
        service = self._input_weight * num_prompt + self._output_weight * len(
            request.output_token_ids
        )
        return service / self._class_weights.get(request.terms.user_class or "", 1.0)


def user_of(request: Request) -> str:
    """Returns who is charged: the user, else the conversation, else the request alone."""
    return request.terms.user_id or request.conversation_id or request.request_id
