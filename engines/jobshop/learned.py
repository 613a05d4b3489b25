"""The learned policy: a graph network asked at each decision, for many shops at once.

Greedy, it takes the choice that scores highest. With `samples`, so many schedules are thought
through by drawing from its probabilities, the greedy one among them, and the best is followed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from engines.jobshop.gnn import DispatchNet, GraphBatch, batch_of, log_shares
from engines.jobshop.graph import Graph, graph_of
from engines.jobshop.planned_policy import Step, follow_plans
from engines.jobshop.policy import to_choice
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.rollout import Mind, foresee, new_mind
from engines.jobshop.simulator import ALL_DONE, act
from engines.jobshop.state import State, copy_state, makespan, new_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the network is asked at once: one decision of each play that stands at one."""

    numbers: Sequence[int]  # of the plays
    machines: Sequence[int]
    choices: Sequence[Integers]  # jobs, or IDLE
    graphs: Sequence[Graph]
    batch: GraphBatch


Pick = Callable[[Question, Tensor], Integers]  # scores [C] to the place of each one's choice


def play_together(net: DispatchNet, plays: Sequence[tuple[Shop, State]], pick: Pick) -> None:
    """Plays all to their ends, asking the network for all that stand at a choice at once."""
    room = max(len(state.status) for _, state in plays) + 1
    choices = np.empty((len(plays), room), dtype=np.int64)
    numbers: Sequence[int] = range(len(plays))
    while question := _ask(plays, numbers, choices):
        with torch.no_grad():
            scores, _ = net(question.batch)
        places = pick(question, scores)
        asked = zip(question.numbers, question.machines, question.choices, places, strict=True)
        for number, machine, mine, place in asked:
            act(*plays[number], machine, mine[place])
        numbers = question.numbers


def _ask(
    plays: Sequence[tuple[Shop, State]], numbers: Sequence[int], choices: Integers
) -> Question | None:
    """Runs the plays of these numbers on to their next choices. Returns them, None at the end."""
    standing = [(each, *to_choice(*plays[each], choices[each])) for each in numbers]
    standing = [each for each in standing if each[1] != ALL_DONE]
    if not standing:
        return None
    mine = [choices[number, :count] for number, _, count in standing]
    graphs = [graph_of(*plays[each[0]], own) for each, own in zip(standing, mine, strict=True)]
    return Question(
        numbers=[number for number, _, _ in standing],
        machines=[machine for _, machine, _ in standing],
        choices=mine,
        graphs=graphs,
        batch=batch_of(graphs),
    )


def best_places(scores: Tensor, batch: GraphBatch) -> Integers:
    """Returns the place of each graph's highest score among its choices."""
    values, graph = scores.numpy(), batch.choice_graph.numpy()
    order = np.lexsort((-np.arange(len(values)), values, graph))
    last = np.flatnonzero(np.append(np.diff(graph[order]), 1))
    starts = np.searchsorted(graph, np.arange(len(batch.shop)))
    return np.asarray(order[last] - starts, dtype=np.int64)


def drawn_places(scores: Tensor, batch: GraphBatch, random: np.random.Generator) -> Integers:
    """Returns a draw for each graph from its softmax over scores."""
    noise = torch.from_numpy(random.gumbel(size=len(scores)).astype(np.float32))
    return best_places(log_shares(scores, batch) + noise, batch)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps torch to one thread: on matrices this small more only get in each other's way."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True, kw_only=True)
class GreedyPolicy:
    net: DispatchNet

    def play(self, shop: Shop, state: State, seed: int) -> None:
        with one_thread():
            play_together(
                self.net,
                [(shop, state)],
                lambda question, scores: best_places(scores, question.batch),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledPolicy:
    net: DispatchNet
    samples: int

    def play(self, shop: Shop, state: State, seed: int) -> None:
        random = np.random.default_rng(seed)
        thinker = _Sampler(self.net, self.samples, new_mind(shop), random)
        with one_thread():
            follow_plans(thinker, shop, state)


@dataclass(frozen=True, slots=True)
class _Sampler:
    net: DispatchNet
    samples: int
    mind: Mind
    random: np.random.Generator

    def plan(self, shop: Shop, state: State) -> list[Step]:
        foresee(shop, state, self.mind)
        states = [new_state(shop) for _ in range(self.samples)]
        for each in states:
            copy_state(self.mind.thought, each)
        steps: list[list[Step]] = [[] for _ in states]

        def pick(question: Question, scores: Tensor) -> Integers:
            places = drawn_places(scores, question.batch, self.random)
            if question.numbers[0] == 0:  # the first of them plays greedily
                places[0] = best_places(scores, question.batch)[0]
            asked = zip(question.numbers, question.machines, question.choices, places, strict=True)
            for number, machine, mine, place in asked:
                steps[number].append((machine, int(mine[place])))
            return places

        play_together(self.net, [(self.mind.shop, each) for each in states], pick)
        return steps[int(np.argmin([makespan(each) for each in states]))]
