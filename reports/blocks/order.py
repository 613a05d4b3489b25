"""Which blocks stand on a run's page, and in which order."""

from __future__ import annotations

from reports.blocks import attainment, latency, service, switching
from reports.blocks.block import Block, RunData
from reports.blocks.timeline import timeline


def all_blocks(data: RunData) -> list[Block]:
    """The answer first, then why, then whether to believe it. Blocks without data are left out."""
    blocks = [
        attainment.attainment(data),
        latency.tails(data),
        attainment.heat_maps(data),
        latency.ecdfs(data, "first_token_delay_s"),
        latency.ecdfs(data, "tbt_s"),
        timeline(data),
        service.over_time(data),
        service.lorenz(data),
        switching.latency_shares(data),
        switching.slow_requests(data),
        switching.kv(data),
        switching.copies(data),
        latency.by_turn(data),
        latency.driver_lag(data),
    ]
    return [block for block in blocks if block.figures]
