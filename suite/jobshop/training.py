"""The training of a graph network, as its file asks for it."""

from __future__ import annotations

from pathlib import Path

from engines.jobshop.training.train import Training, begin_training
from suite.jobshop.drawn_shops import iteration_shops, validation_shops
from suite.jobshop.training_spec import TrainingSpec


def training_of(spec: TrainingSpec, folder: Path) -> Training:
    """Returns the training at its beginning, or where the folder's checkpoint left off. Raises
    EngineInputError where that is of other settings."""
    folder.mkdir(parents=True, exist_ok=True)
    return begin_training(
        spec.train,
        seed=spec.seed,
        shops=lambda iteration, count: iteration_shops(spec, iteration, count),
        validation=validation_shops(spec),
        folder=folder,
    )
