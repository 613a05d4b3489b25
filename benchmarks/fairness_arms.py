"""What benchmarks.fairness lets compete: arms (a policy over mechanisms) and scenes (who asks, and
which GPU)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from workloads.plan import Plan
from workloads.plan_parts import Conversation

REFERENCE = "vllm-0.3 + priority"
MECHANISMS: dict[str, dict[str, Any]] = {
    "vllm-0.3": {"preset": "vllm-0.3"},
    "recompute-prefix": {"preset": "recompute-prefix", "swap_tokens": 0},
    "fastswitch": {"preset": "fastswitch"},
}
# A policy under a name of its own here, for its settings.
WEIGHTED: dict[str, dict[str, Any]] = {
    "vtc 2:1": {"name": "vtc", "weights": {"gold": 2.0, "silver": 1.0}}
}
# The most telling first: a run that is stopped has lost the least.
ARMS = (
    REFERENCE,
    "fastswitch + slo",
    "recompute-prefix + slo",
    "fastswitch + fcfs",
    "recompute-prefix + fcfs",
    "vllm-0.3 + slo",
    "fastswitch + priority",
    "vllm-0.3 + fcfs",
    "fastswitch + vtc",
    "fastswitch + edf",
    "recompute-prefix + priority",
    "fastswitch + qoe",
    "fastswitch + mlfq",
    "fastswitch + dlpm",
    "fastswitch + srpt",
)

FIXED_ARMS = (
    "fastswitch + fcfs",
    "fastswitch + priority",
    "fastswitch + vtc",
    "fastswitch + edf",
    "fastswitch + slo",
)


def arm_settings(arm: str) -> dict[str, Any]:
    """Returns an engine's settings that an arm adds to its scene's."""
    mechanisms, policy = arm.split(" + ")
    return {**MECHANISMS[mechanisms], "policy": WEIGHTED.get(policy, policy)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """`settings` override the base workload; `rate` is about where REFERENCE keeps 90 %."""

    settings: Mapping[str, Any]
    rate: float
    engine: Mapping[str, Any] | None = None  # beside those of the base's engine
    change: Callable[[Plan], Plan] = lambda plan: plan
    arms: tuple[str, ...] = FIXED_ARMS  # of a scene at one rate


_H100_70B = {
    "profile": "h100x4-llama3-70b",
    "kv_tokens": 65_536,
    "swap_tokens": 786_432,
    "max_batch_tokens": 2048,
}
# Ten turns each, so that nine of ten prompts bring a long history back.
_HEAVY = {
    "conversations": {
        "source": "fixed",
        "turns": 10,
        "prompt_tokens": 250,
        "output_tokens": 250,
        "max_context_tokens": 8192,
    }
}
_SLO = {"ttft": "2s", "tbt": "250ms", "max_gap": "2500ms", "attainment": 0.9}


def _two_classes(heavy_share: float, heavy_conversations: int, name: str) -> dict[str, Any]:
    """Returns users with four conversations each, and one of another kind beside them."""
    return {
        "users": {
            "regular": {
                "share": round(1 - heavy_share, 6),
                "conversations_per_user": 4,
                "slo": _SLO,
            },
            name: {
                "share": heavy_share,
                "conversations_per_user": heavy_conversations,
                "slo": _SLO,
            },
        }
    }


def huge_prompts(plan: Plan) -> Plan:
    """Returns the plan in which each first prompt of the class `huge` has 6,000 tokens."""
    draw = np.random.default_rng(plan.seed)

    def changed(each: Conversation) -> Conversation:
        if each.user_class != "huge":
            return each
        prompt = draw.integers(256, 8000, 6000).astype(np.int32)
        first = replace(each.turns[0], new_prompt_token_ids=prompt)
        return replace(each, turns=(first,))

    return replace(plan, conversations=tuple(map(changed, plan.conversations)))


CAPACITY_SCENES = {
    "a10-8b light": Scene(settings={}, rate=0.066),
    "a10-8b heavy": Scene(settings=_HEAVY, rate=0.05),
    "h100-70b light": Scene(settings={"model": "llama-3-70b"}, rate=0.3, engine=_H100_70B),
    "h100-70b heavy": Scene(
        settings={"model": "llama-3-70b", **_HEAVY}, rate=0.2, engine=_H100_70B
    ),
}
# At one rate each, under every policy: who pays?
FIXED_SCENES = {
    # 90 users of 4 conversations; one asks ten times as much as they do.
    "ten times the load": Scene(settings=_two_classes(0.010989, 40, "tenfold"), rate=0.12),
    "huge prompts": Scene(
        settings=_two_classes(0.010989, 40, "huge"), rate=0.12, change=huge_prompts
    ),
    "regular": Scene(settings=_two_classes(0.010989, 4, "tenfold"), rate=0.12),
    # More than it can carry, so that service is what the policy makes of it.
    "unequal weights": Scene(
        settings={
            "users": {
                name: {"share": 0.5, "conversations_per_user": 4, "slo": _SLO}
                for name in ("gold", "silver")
            }
        },
        rate=0.2,
        arms=("fastswitch + vtc", "fastswitch + vtc 2:1"),
    ),
}
