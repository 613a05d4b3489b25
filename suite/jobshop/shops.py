"""From what is planned to what is played: instances and interruptions as a simulator's shop."""

from __future__ import annotations

from engines.jobshop.problem import Shop, build_shop
from workloads.jobshop.instances import Instance
from workloads.jobshop.interruptions import Interruptions
from workloads.jobshop.spec import LengthSpec


def shop_of(instance: Instance, interruptions: Interruptions, length: LengthSpec) -> Shop:
    """Returns the shop; `length` is what policies may know of interruptions to come."""
    return build_shop(
        instance.machine,
        instance.duration,
        hits=(interruptions.hit_offset, interruptions.hit_length),
        windows=(interruptions.window_start, interruptions.window_end),
        length_bounds=(length.min, length.max),
    )
