"""Proximal policy optimisation for a network that scores as many choices as there are.

Reward: less time. Between two decisions of a play it is minus what passed, in mean durations, so
that the return is minus the time to go, which the network's value says as a positive number. The
future is not discounted. Masking is in the graph: only what may be chosen is scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engines.jobshop.features import Floats
from engines.jobshop.gnn import DispatchNet, batch_of, log_shares
from engines.jobshop.graph import Graph
from engines.jobshop.learned import Question, drawn_places, play_together
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.state import CLOCK, makespan, new_state
from engines.jobshop.training.learning import Learned
from engines.jobshop.training.settings import PpoSettings

TRACE = 0.95  # λ of generalised advantage estimation
VALUE_WEIGHT = 0.5


@dataclass(slots=True, kw_only=True)
class Experience:
    """One decision as it was taken, then what came of it."""

    graph: Graph
    place: int
    log_share: float
    value: float  # time to go, as the network had it
    at: float  # in mean durations
    advantage: float = 0.0
    to_go: float = 0.0  # what the value is to learn


def gather(net: DispatchNet, shops: Sequence[Shop], seed: int) -> list[Experience]:
    """Returns the decisions of one play of each shop, drawn from the network's shares."""
    random, plays = np.random.default_rng(seed), [(shop, new_state(shop)) for shop in shops]
    met: list[list[Experience]] = [[] for _ in plays]

    def pick(question: Question, scores: Tensor) -> Integers:
        places = drawn_places(scores, question.batch, random)
        shares = log_shares(scores, question.batch).numpy()
        starts = np.searchsorted(
            question.batch.choice_graph.numpy(), np.arange(len(question.graphs))
        )
        with torch.no_grad():
            values = net(question.batch)[1].numpy()
        for at, number in enumerate(question.numbers):
            shop, state = plays[number]
            met[number].append(
                Experience(
                    graph=question.graphs[at],
                    place=int(places[at]),
                    log_share=float(shares[starts[at] + places[at]]),
                    value=float(values[at]),
                    at=state.counts[CLOCK] / shop.mean_duration,
                )
            )
        return places

    play_together(net, plays, pick)
    for (shop, state), mine in zip(plays, met, strict=True):
        credit(mine, makespan(state) / shop.mean_duration)
    return [each for mine in met for each in mine]


def credit(play: Sequence[Experience], end: float) -> None:
    """Sets the advantages and value targets of one play that ended then."""
    advantage, next_value, next_at = 0.0, 0.0, end
    for each in reversed(play):
        surprise = each.value - (next_at - each.at) - next_value  # > 0: quicker than thought
        advantage = surprise + TRACE * advantage
        each.advantage, each.to_go = advantage, each.value - advantage
        next_value, next_at = each.value, each.at


def improve(
    net: DispatchNet,
    optimiser: torch.optim.Optimizer,
    experience: Sequence[Experience],
    settings: PpoSettings,
    seed: int,
) -> Learned:
    """Goes through the experience `epochs` times. Returns the last time's means."""
    random = np.random.default_rng(seed)
    advantages = np.array([each.advantage for each in experience])
    scaled = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
    rows: list[tuple[float, float]] = []
    for epoch in range(settings.epochs):
        order = random.permutation(len(experience))
        for start in range(0, len(order), settings.batch_size):
            places = order[start : start + settings.batch_size]
            some = [experience[at] for at in places]
            row = _step(net, optimiser, some, scaled[places], settings)
            if epoch == settings.epochs - 1:
                rows.append(row)
    entropy, value_error = np.mean(rows, axis=0)
    return Learned(
        cost=None,
        entropy=float(entropy),
        value_error=float(value_error),
        num_decisions=len(experience),
    )


def _step(
    net: DispatchNet,
    optimiser: torch.optim.Optimizer,
    some: Sequence[Experience],
    advantages: Floats,
    settings: PpoSettings,
) -> tuple[float, float]:
    batch = batch_of([each.graph for each in some])
    starts = torch.searchsorted(batch.choice_graph, torch.arange(len(some)))
    taken = starts + torch.tensor([each.place for each in some])
    before = torch.tensor([each.log_share for each in some])
    gain = torch.from_numpy(advantages).float()
    to_go = torch.tensor([each.to_go for each in some], dtype=torch.float32)
    scores, values = net(batch)
    shares = log_shares(scores, batch)
    ratio = (shares[taken] - before).exp()
    clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
    policy_loss = -torch.minimum(ratio * gain, clipped * gain).mean()
    entropy = -(shares.exp() * shares).sum() / len(some)
    value_loss = F.smooth_l1_loss(values, to_go)
    loss = policy_loss + VALUE_WEIGHT * value_loss - settings.entropy * entropy
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    optimiser.step()
    error = (values - to_go).abs().mean()
    return float(entropy.detach()), float(error.detach())
