"""`fsbench train` as a user types it: a small training, gone on with, then mistakes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import finish, start

SMALL: dict[str, Any] = {
    "name": "small",
    "subject": "jobshop",
    "seed": 1,
    "shops": {"jobs": [2, 3], "machines": [2, 3]},
    "validation": {"shops": {"jobs": [3, 3], "machines": [3, 3]}, "count": 2},
    "train": {
        "net": {"width": 8, "rounds": 1},
        "lessons": {"iterations": 1, "shops": 1, "samples": 2},
        "ppo": {"iterations": 1, "shops": 1, "plays": 2},
        "checkpoint_every": 1,
    },
}


def test_a_training_leaves_weights_and_curves_and_goes_on(tmp_path: Path) -> None:
    code, out, err = finish(start(["train", "w.yaml"], tmp_path, SMALL))
    assert code == 0, err
    assert "best at iteration" in out
    assert "1/2 lessons:" in err
    assert "2/2 ppo:" in err
    folder = tmp_path / "runs" / "small"
    assert {each.name for each in folder.iterdir()} == {
        "checkpoint.pt", "curve.json", "report.html", "weights.pt",
    }  # fmt: skip
    more = ["train", "w.yaml", "--set", "train.ppo.iterations=2"]
    code, out, err = finish(start(more, tmp_path))
    assert code == 0, err
    assert "goes on at iteration 2 of 3" in out
    assert "3/3 ppo:" in err


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("train.lessons.shops=0", "train.lessons.shops must be ≥ 1, got 0"),
        ("shops.jobs=[5,2]", "jobs must be [low, high] with 1 ≤ low ≤ high, got [5, 2]"),
        ("interruptions.probability=[1.5]", "must be ≤ 1, got 1.5"),
        ("train.net.layers=3", "train.net.layers"),
        ("subject=serving", "subject must be 'jobshop', got 'serving'"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, setting: str, words: str) -> None:
    spec = {**SMALL, "interruptions": {}}
    code, _, err = finish(start(["train", "w.yaml", "--set", setting], tmp_path, spec))
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
