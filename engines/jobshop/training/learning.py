"""One step of learning from lessons: what the network would pay in the mean gets less.

The loss is the expected cost of the network's own probabilities, less a reward for staying
undecided. Costs are noisy, but the loss is linear in them, so noise averages out instead of being
learned: the least loss is at probabilities ∝ exp(−mean cost / indecision).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from engines.jobshop.gnn import DispatchNet, batch_of, log_shares
from engines.jobshop.training.lessons import Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    cost: float | None  # expected, in mean durations a decision; None where no lesson says it
    entropy: float
    value_error: float  # mean of |value − true time to go|, in mean durations
    num_decisions: int


def learn(
    net: DispatchNet,
    optimiser: torch.optim.Optimizer,
    lessons: Sequence[Lesson],
    *,
    seed: int,
    epochs: int,
    batch_size: int,
    indecision: float,
    value_weight: float = 0.01,
) -> Learned:
    """Goes through the lessons so many times, in the seed's order. Returns the means of the last
    time."""
    random = np.random.default_rng(seed)
    rows: list[tuple[float, float, float]] = []
    for epoch in range(epochs):
        order = random.permutation(len(lessons))
        for start in range(0, len(order), batch_size):
            some = [lessons[at] for at in order[start : start + batch_size]]
            row = _step(net, optimiser, some, indecision, value_weight)
            if epoch == epochs - 1:
                rows.append(row)
    cost, entropy, value_error = np.mean(rows, axis=0)
    return Learned(
        cost=float(cost),
        entropy=float(entropy),
        value_error=float(value_error),
        num_decisions=len(lessons),
    )


def _step(
    net: DispatchNet,
    optimiser: torch.optim.Optimizer,
    lessons: Sequence[Lesson],
    indecision: float,
    value_weight: float,
) -> tuple[float, float, float]:
    batch = batch_of([each.graph for each in lessons])
    costs = torch.from_numpy(np.concatenate([each.costs for each in lessons])).float()
    to_go = torch.tensor([each.to_go for each in lessons], dtype=torch.float32)
    scores, values = net(batch)
    shares = log_shares(scores, batch)
    cost = (shares.exp() * costs).sum() / len(lessons)
    entropy = -(shares.exp() * shares).sum() / len(lessons)
    value_loss = F.smooth_l1_loss(values, to_go)
    loss = cost - indecision * entropy + value_weight * value_loss
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimiser.step()
    error = (values - to_go).abs().mean()
    return float(cost.detach()), float(entropy.detach()), float(error.detach())
