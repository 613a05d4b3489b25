"""Learned policies from files of weights; apart, so that only who plays one imports torch."""

from __future__ import annotations

from pathlib import Path

from engines.jobshop.learned import GreedyPolicy, SampledPolicy
from engines.jobshop.net_file import load_net
from engines.jobshop.policy import Policy
from engines.jobshop.weights import SHIPPED


def learned_policy(weights: str, samples: int) -> Policy:
    """Returns the policy of these weights, `shipped` or a file's; greedy with one sample. Raises
    EngineInputError, one line."""
    net = load_net(SHIPPED / "gnn.pt" if weights == "shipped" else Path(weights))
    return GreedyPolicy(net=net) if samples == 1 else SampledPolicy(net=net, samples=samples)
