"""A plan's users and their SLOs in an engine's words: what is said of each turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engines.terms import Slo, Terms
from workloads.plan_parts import Conversation, UserClass


def promised(user_classes: Sequence[UserClass]) -> dict[str, Slo]:
    """Returns what each class was promised."""
    return {
        each.name: Slo(
            ttft_s=each.slo.ttft_s,
            tbt_s=each.slo.tbt_s,
            tbt_percentile=each.slo.tbt_percentile,
            max_gap_s=each.slo.max_gap_s,
        )
        for each in user_classes
    }


def terms_of(conversation: Conversation, slos: Mapping[str, Slo]) -> Terms:
    """Returns who asks in a conversation and what was promised; `slos`: to each class."""
    return Terms(
        user_id=conversation.user_id,
        user_class=conversation.user_class,
        slo=slos.get(conversation.user_class),
    )
