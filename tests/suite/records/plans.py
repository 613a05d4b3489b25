"""Plans of which only the number of turns matters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from workloads.plan import Plan
from workloads.plan_parts import Conversation, Slo, Turn, UserClass


def plan_of(num_turns: Sequence[int]) -> Plan:
    """A conversation, and a user, for each number."""
    turn = Turn(
        new_prompt_token_ids=np.arange(3, dtype=np.int32),
        prompt_text=None,
        num_output_tokens=2,
        think_time_s=0.0,
    )
    slo = Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.99, attainment_ratio=0.9)
    return Plan(
        name="counted",
        seed=1,
        user_classes=(UserClass(name="all", share_ratio=1.0, slo=slo),),
        conversations=tuple(
            Conversation(
                conversation_id=f"c{number}",
                user_id=f"u{number}",
                user_class="all",
                start_at_s=0.0,
                turns=(turn,) * num,
            )
            for number, num in enumerate(num_turns)
        ),
        closed_concurrency=None,
        priorities=None,
    )
