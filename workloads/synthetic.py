"""Conversations whose lengths come from distributions in the workload file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workloads.bounds import MAX_TURNS
from workloads.distributions import Stream
from workloads.errors import WorkloadError
from workloads.lengths import Drawn, drawn_lengths
from workloads.shapes import ConversationShape, TurnShape
from workloads.spec_conversations import SyntheticConversations


def synthetic_conversations(
    spec: SyntheticConversations, base_directory: Path, seed: int
) -> Iterator[ConversationShape]:
    """Yields conversations without end; conversation k depends on the seed and on k alone. Raises
    WorkloadError, TraceError."""
    laws = _laws(spec, base_directory)
    index = 0
    while True:
        yield _conversation(laws, seed, index)
        index += 1


@dataclass(frozen=True, slots=True, kw_only=True)
class _Laws:
    turns: Drawn
    first_prompt: Drawn
    prompt: Drawn
    output: Drawn


def _laws(spec: SyntheticConversations, base_directory: Path) -> _Laws:
    def law(name: str) -> Drawn:
        return drawn_lengths(getattr(spec, name), f"conversations.{name}", base_directory)

    prompt = law("prompt_tokens")
    has_first = spec.first_prompt_tokens is not None
    return _Laws(
        turns=law("turns"),
        first_prompt=law("first_prompt_tokens") if has_first else prompt,
        prompt=prompt,
        output=law("output_tokens"),
    )


def _conversation(laws: _Laws, seed: int, index: int) -> ConversationShape:
    """Each length has a stream of its own, so that another law for one leaves the others."""

    def stream(what: str) -> Stream:
        return Stream(seed, f"synthetic/{index}/{what}")

    num = int(laws.turns.draw(stream("turns").uniforms(1))[0])
    if num > MAX_TURNS:
        raise WorkloadError(f"conversations.turns draws {num:,}, more than {MAX_TURNS:,}; set max")
    sizes = stream("prompt").uniforms(num)
    prompts = np.concatenate([laws.first_prompt.draw(sizes[:1]), laws.prompt.draw(sizes[1:])])
    outputs = laws.output.draw(stream("output").uniforms(num))
    return ConversationShape(
        turns=tuple(
            TurnShape(num_new_prompt_tokens=prompt, num_output_tokens=output)
            for prompt, output in zip(prompts.tolist(), outputs.tolist(), strict=True)
        )
    )
