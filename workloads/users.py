"""Who holds which conversation: classes by their share, users by conversations_per_user."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workloads.distributions import Stream, quotas
from workloads.plan_parts import Slo, UserClass
from workloads.shapes import Tally
from workloads.spec_users import UserClassSpec

EMPTY_CLASS = "user classes without any conversation (count is too small for their share)"


@dataclass(frozen=True, slots=True)
class User:
    user_id: str
    user_class: str


def user_classes(classes: Mapping[str, UserClassSpec]) -> tuple[UserClass, ...]:
    return tuple(
        UserClass(
            name=name,
            share_ratio=spec.share,
            slo=Slo(
                ttft_s=spec.slo.ttft,
                tbt_s=spec.slo.tbt,
                tbt_percentile=spec.slo.tbt_percentile,
                attainment_ratio=spec.slo.attainment,
                max_gap_s=spec.slo.max_gap,
            ),
        )
        for name, spec in classes.items()
    )


def assign_users(
    classes: Mapping[str, UserClassSpec], num_conversations: int, seed: int, tally: Tally
) -> list[User]:
    """Returns one user for each conversation of the plan.

    `share` is a share of users, so a class's part of the conversations is in proportion to share ·
    conversations_per_user. The parts are exact up to one conversation; only who comes when is
    random. The order of the classes in the file does not matter.
    """
    names = sorted(classes)
    weights = [classes[name].share * classes[name].conversations_per_user for name in names]
    users = []
    for name, num in zip(names, quotas(num_conversations, weights), strict=True):
        tally[EMPTY_CLASS] += num == 0
        per_user = classes[name].conversations_per_user
        users += [User(f"{name}-{k // per_user:04d}", name) for k in range(num)]
    order = Stream(seed, "users").shuffled(num_conversations)
    return [users[k] for k in order]
