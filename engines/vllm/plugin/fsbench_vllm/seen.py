"""A vLLM request as a policy of the embedded engine sees it; no vLLM in it.

A policy reads the names of `engines.core.request.Request`. Here each is answered from vLLM's own
request at the moment it is asked, so that nothing has to be kept in step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engines.terms import UNKNOWN, Slo, Terms

MS = 1e-3


class Seen:
    """Compared and hashed by identity, as policies keep requests."""

    def __init__(
        self,
        request: Any,
        *,
        serial: int,
        arrived_at: float,
        blocks_of: Callable[[str], Sequence[Any]],
    ) -> None:
        """`blocks_of`: the KV blocks that a request holds, by its id."""
        extra = getattr(request.sampling_params, "extra_args", None) or {}
        self.inner = request
        self.request_id: str = request.request_id
        self.serial = serial
        self.arrived_at = arrived_at  # seconds of the scheduler's own clock
        self.priority: int = request.priority  # as asked; vLLM's field holds the policy's order
        self.rank = 0.0
        self.terms = terms_of(extra)
        self.conversation_id: str | None = extra.get("conversation_id")
        self.sampling = request.sampling_params
        self.host_copy = None  # there is no such thing
        self.num_cached_tokens = 0  # prompt tokens found by vLLM when it was first scheduled
        self.num_findable_tokens = 0  # not asked: vLLM counts each look-up as a query
        self.num_tokens_at_loss = 0  # when it was last sent away; 0 = never was
        self._blocks_of = blocks_of

    @property
    def prompt_token_ids(self) -> Sequence[int]:
        return self.inner.prompt_token_ids or ()

    @property
    def output_token_ids(self) -> Sequence[int]:
        return self.inner.output_token_ids  # type: ignore[no-any-return]

    @property
    def num_tokens(self) -> int:
        return int(self.inner.num_tokens)

    @property
    def num_computed(self) -> int:
        return int(self.inner.num_computed_tokens)

    @property
    def num_uncomputed(self) -> int:
        return self.num_tokens - self.num_computed

    @property
    def must_stay(self) -> bool:
        """Tells whether its coming in would have been in vain, were it sent away now: it has no
        token to show for what it had to compute again."""
        return self.num_tokens_at_loss == self.num_tokens

    @property
    def num_preemptions(self) -> int:
        return int(self.inner.num_preemptions)

    @property
    def device_blocks(self) -> Sequence[Any]:
        """What it holds now; empty for one that waits."""
        return self._blocks_of(self.request_id)


def terms_of(extra: Mapping[str, Any]) -> Terms:
    """Returns who asks and what was promised, from the plain values of `vllm_xargs`; what is
    missing or no number counts as not said: a server must not die of a request."""
    user, user_class = (_text(extra.get(name)) for name in ("user", "user_class"))
    slo = _slo(extra)
    if user is None and user_class is None and slo is None:
        return UNKNOWN
    return Terms(user_id=user, user_class=user_class, slo=slo)


def _slo(extra: Mapping[str, Any]) -> Slo | None:
    ttft, tbt, cap = (_positive(extra.get(name)) for name in ("ttft_ms", "tbt_ms", "max_gap_ms"))
    if ttft is None or tbt is None:
        return None
    percentile = _positive(extra.get("tbt_percentile")) or 0.99
    return Slo(
        ttft_s=ttft * MS,
        tbt_s=tbt * MS,
        tbt_percentile=min(1.0, percentile),
        max_gap_s=None if cap is None else cap * MS,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _positive(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and value > 0 else None  # type: ignore[arg-type, operator]
