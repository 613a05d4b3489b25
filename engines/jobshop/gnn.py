"""A graph network that scores the choices of a decision, and what the shop is worth from there.

Each round, a node hears from what comes before and after it in its job, from all on its machine,
from whom it waits for and who waits for it, and from the whole graph. The numbers of jobs and
machines appear nowhere in the shapes of the weights, so one network plays shops of every size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.jobshop.graph import NUM_NODE_FEATURES, NUM_SHOP_FEATURES, Graph


class GraphBatch(NamedTuple):
    """Graphs side by side: V nodes, M machines, G graphs, C choices in all."""

    nodes: Tensor  # [V, features]
    machine: Tensor  # [V], numbered through the batch
    num_machines: int
    graph: Tensor  # [V]
    before: Tensor  # [V]; V where there is none
    after: Tensor  # [V]
    holds: Tensor  # [2, H]: who waits, and for whom
    shop: Tensor  # [G, features]
    choice_node: Tensor  # [C]; V where the choice is to idle
    choice_graph: Tensor  # [C]


def batch_of(graphs: list[Graph]) -> GraphBatch:
    """Returns the graphs as one, their numbers shifted so that none meets another's."""
    sizes = np.array([len(each.machine) for each in graphs])
    starts = np.concatenate([[0], sizes.cumsum()])
    total = int(starts[-1])
    shops = [int(each.machine.max()) + 1 for each in graphs]
    first_machine = np.concatenate([[0], np.cumsum(shops)])

    def shifted(name: str) -> Tensor:
        """Joins node numbers; -1 becomes `total`, where messages are nought."""
        parts = [getattr(each, name) for each in graphs]
        return torch.from_numpy(
            np.concatenate(
                [np.where(part >= 0, part + start, total) for part, start in zip(parts, starts)]  # noqa: B905
            )
        )

    held_by = shifted("held_by")
    waiting = torch.nonzero(held_by < total).flatten()
    machines = [each.machine + low for each, low in zip(graphs, first_machine)]  # noqa: B905
    return GraphBatch(
        nodes=torch.from_numpy(np.concatenate([each.nodes for each in graphs])),
        machine=torch.from_numpy(np.concatenate(machines)),
        num_machines=int(first_machine[-1]),
        graph=torch.from_numpy(np.repeat(np.arange(len(graphs)), sizes)),
        before=shifted("before"),
        after=shifted("after"),
        holds=torch.stack([waiting, held_by[waiting]]),
        shop=torch.from_numpy(np.stack([each.shop for each in graphs])),
        choice_node=shifted("choices"),
        choice_graph=torch.from_numpy(
            np.repeat(np.arange(len(graphs)), [len(each.choices) for each in graphs])
        ),
    )


class Round(nn.Module):
    """One exchange of messages."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.own = nn.Linear(width, width)
        self.before = nn.Linear(width, width, bias=False)
        self.after = nn.Linear(width, width, bias=False)
        self.machine = nn.Linear(2 * width, width, bias=False)
        self.waits_for = nn.Linear(width, width, bias=False)
        self.awaited_by = nn.Linear(width, width, bias=False)
        self.graph = nn.Linear(2 * width, width, bias=False)
        self.out = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:  # x: [V, width]
        y = self.norm(x)
        padded = F.pad(y, (0, 0, 0, 1))  # the last row is of no node, and nought
        heard = self.own(y)
        heard = heard + self.before(padded)[batch.before] + self.after(padded)[batch.after]
        heard = heard + self.machine(pooled(y, batch.machine, batch.num_machines))[batch.machine]
        heard = heard + self.graph(pooled(y, batch.graph, len(batch.shop)))[batch.graph]
        waiting, held_by = batch.holds
        heard = heard.index_add(0, waiting, self.waits_for(y[held_by]))
        heard = heard.index_add(0, held_by, self.awaited_by(y[waiting]))
        change: Tensor = self.out(F.relu(heard))
        return x + change


def pooled(x: Tensor, group: Tensor, count: int) -> Tensor:
    """Returns mean and maximum of each group's rows, [count, 2 × width]."""
    width = x.shape[1]
    total = x.new_zeros(count, width).index_add(0, group, x)
    size = x.new_zeros(count).index_add(0, group, x.new_ones(len(x)))
    place = group[:, None].expand(-1, width)
    most = x.new_zeros(count, width).scatter_reduce(0, place, x, "amax", include_self=False)
    return torch.cat([total / size.clamp(min=1)[:, None], most], dim=1)


class DispatchNet(nn.Module):
    """Scores of choices, and a value of each graph: mean durations until the end."""

    def __init__(self, *, width: int, rounds: int) -> None:
        super().__init__()
        self.settings = {"width": width, "rounds": rounds}
        self.enter = nn.Linear(NUM_NODE_FEATURES, width)
        self.enter_shop = nn.Linear(NUM_SHOP_FEATURES, width)
        self.rounds = nn.ModuleList(Round(width) for _ in range(rounds))
        self.score = nn.Sequential(
            nn.Linear(4 * width, width), nn.ReLU(), nn.Linear(width, 1)
        )  # of a node, its graph's mean and maximum, the shop
        self.no_node = nn.Parameter(torch.zeros(width))  # stands for idling
        self.value = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, batch: GraphBatch) -> tuple[Tensor, Tensor]:
        """Returns scores [C] and values [G]."""
        shop = F.relu(self.enter_shop(batch.shop))
        x = F.relu(self.enter(batch.nodes)) + shop[batch.graph]
        for each in self.rounds:
            x = each(x, batch)
        whole = torch.cat([pooled(x, batch.graph, len(batch.shop)), shop], dim=1)
        chosen = torch.cat([x, self.no_node[None]])[batch.choice_node]
        scores = self.score(torch.cat([chosen, whole[batch.choice_graph]], dim=1))
        return scores.flatten(), self.value(whole).flatten()


def log_shares(scores: Tensor, batch: GraphBatch) -> Tensor:
    """Returns the logarithm of each choice's probability, a softmax within each graph."""
    count = len(batch.shop)
    most = scores.new_full((count,), -torch.inf).scatter_reduce(
        0, batch.choice_graph, scores.detach(), "amax"
    )
    shifted = scores - most[batch.choice_graph]
    total = scores.new_zeros(count).index_add(0, batch.choice_graph, shifted.exp())
    return shifted - total.log()[batch.choice_graph]
