"""Training files: strict, and drawn by the seed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engines.jobshop.weights import load_linear
from suite.jobshop.drawn_shops import iteration_shops, validation_shops
from suite.jobshop.linear_training import train_linear
from suite.jobshop.training_spec import LinearTraining, TrainingSpec, training_spec_of
from workloads.source import read_source

ROOT = Path(__file__).parents[3]


def _spec(**changes: object) -> TrainingSpec:
    return TrainingSpec.model_validate(
        {
            "name": "small", "subject": "jobshop", "seed": 1,
            "shops": {"jobs": [2, 5], "machines": [2, 4]},
            "interruptions": {"probability": [0.0, 0.9], "length": {"min": 3, "max": 8}},
            "validation": {"shops": {"jobs": [3, 3], "machines": [3, 3]}, "count": 2},
            **changes,
        }
    )  # fmt: skip


def test_an_iterations_shops_are_its_own_and_the_same_each_time() -> None:
    one, again, other = (iteration_shops(_spec(), number, 6) for number in (4, 4, 5))
    for mine, same in zip(one, again, strict=True):
        assert np.array_equal(mine.duration, same.duration)
        assert np.array_equal(mine.hit_offset, same.hit_offset)
    assert [each.duration.tolist() for each in one] != [each.duration.tolist() for each in other]
    for each in one:
        jobs, machines = each.machine.shape
        assert 2 <= machines <= 4
        assert machines <= jobs <= 5
        assert each.length_bounds.tolist() == [3, 8]


def test_held_back_shops_are_of_their_own_sizes() -> None:
    shops = validation_shops(_spec())
    assert [each.machine.shape for each in shops] == [(3, 3)] * 2


@pytest.mark.parametrize("name", ["isbjssp-train.yaml", "isbjssp-train-linear.yaml"])
def test_the_shipped_training_files_are_valid(name: str) -> None:
    spec = training_spec_of(read_source(ROOT / "workloads" / name))
    assert len(iteration_shops(spec, 0, 2)) == 2


def test_the_linear_rule_is_trained_to_what_was_best_when_held_back(tmp_path: Path) -> None:
    told: list[float] = []
    settings = LinearTraining(generations=12, shops=3)
    path = train_linear(_spec(), settings, tmp_path, lambda _, ratio: told.append(ratio))
    assert len(told) == 2  # after 10 and at the end
    assert load_linear(str(path)).any()
    assert f"{min(told):.4f} of FIFO+BF" in json.loads(path.read_text())["made_by"]
