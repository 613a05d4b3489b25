"""What a step costs and what a prompt token adds to it, from the steps that were measured."""

from __future__ import annotations

MEMORY = 1 / 8  # a moving average over about the last eight steps
MEMORY_TOKENS = 2048  # … over about so many prompt tokens


class StepCosts:
    """Seconds; 0.0 while nothing has been measured yet."""

    def __init__(self) -> None:
        self.step_s = 0.0  # of one that only decodes
        self.prefill_token_s = 0.0  # what each prompt token adds
        self.move_token_s = 0.0  # what bringing in a token's KV takes

    def measured(self, num_prefill_tokens: int, duration_s: float) -> None:
        """Takes in a step that computed so many prompt tokens beside its decodes."""
        if num_prefill_tokens == 0:
            self.step_s += (duration_s - self.step_s) * (MEMORY if self.step_s else 1.0)
            return
        added_s = max(0.0, duration_s - self.step_s) / num_prefill_tokens
        share = num_prefill_tokens / (num_prefill_tokens + MEMORY_TOKENS)
        self.prefill_token_s += (added_s - self.prefill_token_s) * (
            share if self.prefill_token_s else 1.0
        )

    def moved(self, num_tokens: int, copying_s: float) -> None:
        """Takes in a swap-in of so many tokens' KV."""
        seconds = copying_s / num_tokens
        self.move_token_s += (seconds - self.move_token_s) * (MEMORY if self.move_token_s else 1.0)
