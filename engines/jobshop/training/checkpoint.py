"""What training writes down so that it can go on after a kill.

One file, replaced whole: a kill at any instant leaves the last one. All randomness of an iteration
comes from the seed and its number, so what goes on is what would have been.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engines.errors import EngineInputError
from engines.jobshop.net_file import load_file, replace_file


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """What one stretch of iterations came to."""

    iteration: int  # the last one
    phase: str
    seconds: float  # trained so far, over all sittings
    decisions: int  # learned from so far
    cost: float | None  # expected, of a decision, in mean durations; lessons only
    entropy: float
    value_error: float
    validation_ratio: float  # greedy makespans over FIFO+BF's on shops never trained on


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    settings: dict[str, Any]  # what it was trained with, and the seed
    iteration: int  # the next one
    net: dict[str, torch.Tensor]
    optimiser: dict[str, Any]
    best_net: dict[str, torch.Tensor]  # at the least validation ratio
    curve: list[CurvePoint]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Replaces the file as a whole."""
    content = {
        "settings": checkpoint.settings,
        "iteration": checkpoint.iteration,
        "net": checkpoint.net,
        "optimiser": checkpoint.optimiser,
        "best_net": checkpoint.best_net,
        "curve": [asdict(each) for each in checkpoint.curve],
    }
    replace_file(path, content)


def load_checkpoint(path: Path) -> Checkpoint:
    """Returns the file's content. Raises EngineInputError, one line."""
    content = load_file(path)
    try:
        return Checkpoint(
            settings=content["settings"],
            iteration=content["iteration"],
            net=content["net"],
            optimiser=content["optimiser"],
            best_net=content["best_net"],
            curve=[CurvePoint(**each) for each in content["curve"]],
        )
    except (KeyError, TypeError):
        raise EngineInputError(f"{path}: is no checkpoint of a training; remove it") from None


def write_curve(path: Path, curve: list[CurvePoint]) -> None:
    """Writes the curve as JSON, a list of points, for who shows it."""
    path.write_text(json.dumps([asdict(each) for each in curve], indent=1), encoding="utf-8")
