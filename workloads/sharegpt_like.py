"""Conversations with the lengths of ShareGPT, from fitted distributions: needs no file.

The parameters were fitted for this project to 30,731 turns in 5,678 conversations of
openchat_sharegpt4, tokenised for Llama-2, as published by project-etalon/etalon (Apache-2.0).
Distance to that data (Kolmogorov–Smirnov): first prompts .022, later prompts .030, outputs .030.

Outputs inside one conversation are alike (lag-1 Spearman correlation .54 in the data): a Gaussian
copula gives each conversation an effect of its own. Later prompts over 1,024 tokens were left out
of the fit, since in the source most of them hold a turn that had been dropped. As a consequence
contexts grow a little slower than in the data (their mean is 12–15 % lower); where that matters,
use the trace itself.

All ranges are truncated exactly (see `distributions.within`): nothing is clipped or drawn again.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy import special

from workloads.distributions import (
    LognormalMixture,
    OnePlusNegativeBinomial,
    ScaledBeta,
    Stream,
    correlated,
)
from workloads.shapes import ConversationShape, TurnShape

TURNS = OnePlusNegativeBinomial(r=0.9017, p=0.16968, maximum=40)
FIRST_PROMPT = LognormalMixture(
    weights=(0.6, 0.4), mu=(3.5503, 5.5833), sigma=(0.8268, 1.1476), minimum=1, maximum=4096
)
LATER_PROMPT = LognormalMixture(
    weights=(0.9568, 0.0432), mu=(3.1656, 6.2284), sigma=(1.1349, 0.412), minimum=1, maximum=2048
)
OUTPUT = ScaledBeta(a=1.0708, b=1.4158, scale=1025.0, minimum=2, maximum=1024)
OUTPUT_CORRELATION = 0.55  # of the normal scores of two outputs in one conversation


def sharegpt_like_conversations(seed: int) -> Iterator[ConversationShape]:
    """Yields conversations without end; conversation k depends on the seed and on k alone."""
    index = 0
    while True:
        yield _conversation(Stream(seed, f"sharegpt-like/{index}"))
        index += 1


def _conversation(stream: Stream) -> ConversationShape:
    num_turns, effect = stream.uniforms(2).reshape(2, 1)
    num = int(TURNS.draw(num_turns)[0])
    choice, size, output = stream.uniforms(3 * num).reshape(3, num)
    prompts = np.concatenate(
        [FIRST_PROMPT.draw(choice[:1], size[:1]), LATER_PROMPT.draw(choice[1:], size[1:])]
    )
    outputs = OUTPUT.draw(correlated(float(special.ndtri(effect[0])), output, OUTPUT_CORRELATION))
    return ConversationShape(
        turns=tuple(
            TurnShape(num_new_prompt_tokens=int(prompt), num_output_tokens=int(output))
            for prompt, output in zip(prompts, outputs, strict=True)
        )
    )
