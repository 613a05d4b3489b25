"""Refusing a plan whose longest turn can be seen not to fit an engine."""

from __future__ import annotations

from collections.abc import Mapping

from engines.errors import EngineInputError


def refuse_longer(num_tokens: int, limits: Mapping[str, int | None]) -> None:
    """Raises EngineInputError where a turn of `num_tokens` is longer than one of the limits, which
    are given by the key to raise; None = unknown."""
    for key, limit in limits.items():
        if limit is not None and num_tokens > limit:
            raise EngineInputError(
                f"{key} must be >= {num_tokens}, the plan's longest turn with its history, "
                f"got {limit}; raise it, or set conversations.max_context_tokens"
            )
