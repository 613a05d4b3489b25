"""Lessons for the network: decisions met on the way, and what each choice there would have cost.

The shops are played by the network itself, now and then at random, so that it learns where it
goes. At each decision every choice is tried some times, played to the end by a rule, and its cost
is the mean of the better part of these ends: what a good player would make of it, not a bad one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from engines.jobshop.base_rule import BaseRule
from engines.jobshop.chance import chance_of
from engines.jobshop.features import Floats
from engines.jobshop.gnn import DispatchNet
from engines.jobshop.graph import Graph
from engines.jobshop.learned import Question, drawn_places, play_together
from engines.jobshop.problem import Integers, Shop
from engines.jobshop.rollout import Mind, new_mind, try_choices
from engines.jobshop.state import CLOCK, makespan, new_state


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    graph: Graph
    costs: Floats  # [c]: of each choice, in mean durations, over the cheapest one's
    to_go: float  # the play's true time from here to its end, in mean durations


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    lessons: list[Lesson]
    makespans: list[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    base: BaseRule
    samples: int
    better_part: float  # of the samples' ends, that counts
    astray: float  # share of decisions taken at random


def give_lessons(net: DispatchNet, teacher: Teacher, shops: Sequence[Shop], seed: int) -> Lessons:
    """Returns a lesson for every decision of one play of each shop."""
    random, chance = np.random.default_rng(seed), chance_of(seed)
    plays = [(shop, new_state(shop)) for shop in shops]
    minds = [new_mind(shop) for shop in shops]
    met: list[tuple[int, int, Graph, Floats]] = []

    def costs_of(number: int, machine: int, choices: Integers, mind: Mind) -> Floats:
        shop, state = plays[number]
        ends = np.empty((len(choices), teacher.samples), dtype=np.int64)
        try_choices(
            teacher.base, shop, state, mind, machine, choices, teacher.samples, chance, ends
        )
        ends.sort(axis=1)
        kept = max(1, round(teacher.samples * teacher.better_part))
        costs = ends[:, :kept].mean(axis=1)
        return np.asarray((costs - costs.min()) / shop.mean_duration, dtype=np.float64)

    def pick(question: Question, scores: Tensor) -> Integers:
        places = drawn_places(scores, question.batch, random)
        asked = zip(
            question.numbers, question.machines, question.choices, question.graphs, strict=True
        )
        for at, (number, machine, choices, graph) in enumerate(asked):
            costs = costs_of(number, machine, choices, minds[number])
            met.append((number, int(plays[number][1].counts[CLOCK]), graph, costs))
            if random.random() < teacher.astray:
                places[at] = random.integers(len(choices))
        return places

    play_together(net, plays, pick)
    ends = [makespan(state) for _, state in plays]
    lessons = [
        Lesson(graph=graph, costs=costs, to_go=(ends[number] - at) / shops[number].mean_duration)
        for number, at, graph, costs in met
    ]
    return Lessons(lessons=lessons, makespans=ends)
