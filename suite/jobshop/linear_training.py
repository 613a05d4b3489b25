"""The linear rule's weights by evolution strategies, as a training file asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.jobshop.features import Floats
from engines.jobshop.training.evolution import Generation, evolve_linear, mean_ratio
from engines.jobshop.weights import save_linear
from suite.jobshop.drawn_shops import iteration_shops, validation_shops
from suite.jobshop.training_spec import LinearTraining, TrainingSpec

WEIGHTS = "linear.json"
CHECK_EVERY = 10  # generations


def train_linear(
    spec: TrainingSpec,
    settings: LinearTraining,
    folder: Path,
    told: Callable[[Generation, float], None],
) -> Path:
    """Writes the weights of the generation that did best on the validation shops, and returns
    where. `told` hears of each generation that was validated, and its ratio there."""
    folder.mkdir(parents=True, exist_ok=True)
    judge = mean_ratio(validation_shops(spec))
    best: tuple[float, int, Floats] | None = None
    generations = evolve_linear(
        lambda number: iteration_shops(spec, number, settings.shops),
        seed=spec.seed,
        generations=settings.generations,
    )
    for each in generations:
        if (each.number + 1) % CHECK_EVERY and each.number + 1 < settings.generations:
            continue
        ratio = judge(each.weights)
        told(each, ratio)
        if best is None or ratio < best[0]:
            best = ratio, each.number, each.weights
    assert best is not None
    ratio, number, weights = best
    made_by = (
        f"fsbench train, {spec.name}, seed {spec.seed}: generation {number + 1} of "
        f"{settings.generations}, {ratio:.4f} of FIFO+BF's makespans on shops held back"
    )
    path = folder / WEIGHTS
    save_linear(path, weights, made_by)
    return path
