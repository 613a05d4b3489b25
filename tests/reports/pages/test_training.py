"""The page of a training: what it says first, and that it stands without a network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.pages.training import write_training_page
from suite.errors import RunDirectoryError


def _point(iteration: int, phase: str, ratio: float) -> dict[str, object]:
    return {
        "iteration": iteration, "phase": phase, "seconds": 60.0 * iteration, "decisions": 1000,
        "cost": 0.3 if phase == "lessons" else None, "entropy": 0.5, "value_error": 2.0,
        "validation_ratio": ratio,
    }  # fmt: skip


def test_the_page_says_what_was_reached(tmp_path: Path) -> None:
    points = [_point(1, "lessons", 0.99), _point(2, "lessons", 0.9), _point(3, "ppo", 0.95)]
    (tmp_path / "curve.json").write_text(json.dumps(points))
    html = write_training_page(tmp_path).read_text()
    assert "after iteration 2, the network&#39;s makespans are 10.0 % below" in html
    assert "3 iterations · 1,000 decisions · 3 minutes" in html
    assert "Learning curves" in html


@pytest.mark.parametrize("content", [None, "no JSON"])
def test_a_folder_without_a_curve_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "curve.json").write_text(content)
    with pytest.raises(RunDirectoryError, match=r"curve.json: no training has left"):
        write_training_page(tmp_path)
