"""The linear rule's weights by evolution strategies: mirrored samples, ranks, a mean that moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from engines.jobshop.base_rule import NUM_WEIGHTS, linear_rule, play_on, rule_of
from engines.jobshop.chance import chance_of
from engines.jobshop.features import Floats
from engines.jobshop.problem import Shop
from engines.jobshop.rollout import FAR
from engines.jobshop.state import new_state

Fitness = Callable[[Floats], float]  # smaller is better


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    number: int
    weights: Floats  # the mean of the search
    fitness: float  # of that mean, on this generation's shops


def evolve(
    draw: Callable[[int], Fitness],
    *,
    num_weights: int,
    seed: int,
    generations: int,
    pairs: int = 16,
    spread: float = 0.3,
    step: float = 0.3,
) -> Iterator[Generation]:
    """Yields each generation's mean. `draw(number)` gives what that generation is judged by; all
    of it is judged by the same. Spread and step shrink to a tenth over the generations."""
    random = np.random.default_rng(seed)
    mean = np.zeros(num_weights)
    ranks = np.linspace(-0.5, 0.5, 2 * pairs)
    for number in range(generations):
        fitness = draw(number)
        shrink = 0.1 ** (number / generations)
        half = random.standard_normal((pairs, num_weights))
        noise = np.concatenate([half, -half])
        values = np.array([fitness(mean + spread * shrink * each) for each in noise])
        shaped = np.empty(2 * pairs)
        shaped[np.argsort(values, kind="stable")] = ranks  # the best has the smallest
        gradient = shaped @ noise / pairs
        mean = mean - step * shrink * gradient
        yield Generation(number=number, weights=mean, fitness=fitness(mean))


def mean_ratio(shops: list[Shop]) -> Fitness:
    """Returns the fitness of linear weights: makespans over FIFO's with blocked jobs first."""
    reference = rule_of("fifo", blocked_first=True)
    usual = [_makespan(reference.weights, shop, is_linear=False) for shop in shops]

    def fitness(weights: Floats) -> float:
        ends = [_makespan(weights, shop, is_linear=True) for shop in shops]
        return float(np.mean(np.array(ends) / np.array(usual)))

    return fitness


def evolve_linear(
    shops: Callable[[int], list[Shop]], *, seed: int, generations: int
) -> Iterator[Generation]:
    """Yields the generations of the linear rule; `shops(number)` are what one is judged on."""
    return evolve(
        lambda number: mean_ratio(shops(number)),
        num_weights=NUM_WEIGHTS,
        seed=seed,
        generations=generations,
    )


def _makespan(weights: Floats, shop: Shop, *, is_linear: bool) -> int:
    rule = linear_rule(weights) if is_linear else rule_of("fifo", blocked_first=True)
    found = np.empty(shop.machine.shape[0], dtype=np.int64)
    return play_on(rule, shop, new_state(shop), found, chance_of(0), FAR)
