"""Planned against counted prompts: by hand, and what is said where they differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.words.lengths import prompt_lengths_text
from suite.judging.metrics_file import measure
from suite.records.prompt_lengths import PromptLengths
from suite.records.run_directory import Isolation, Manifest
from suite.records.turn_records import TurnRecord
from tests.suite.measuring.test_metrics import ALL_WELL, run_of

# Of conversations of turns of 10 planned tokens, each answered with 3.
PLANNED = (10, 23, 10, 10, 23)
SIZED = PromptLengths(by="usage", tokens_per_word=2.0, first_tokens=4, num_words=64)


def counted(counts: Sequence[int | None]) -> list[TurnRecord]:
    return [
        replace(record, num_prompt_tokens=num) for record, num in zip(ALL_WELL, counts, strict=True)
    ]


def measured(
    folder: Path,
    counts: Sequence[int | None],
    lengths: PromptLengths | None = SIZED,
    isolation: Isolation | None = None,
) -> dict[str, Any]:
    run = run_of(folder, counted(counts))
    manifest = Manifest.read(run)
    manifest.trials = [
        trial.model_copy(update={"prompt_lengths": lengths, "isolation": isolation})
        for trial in manifest.trials
    ]
    manifest.write(run)
    engine: dict[str, Any] = measure(run)["engines"]["mine"]
    return engine


def said_of(engine: dict[str, Any]) -> list[str]:
    return [text for text in engine["warnings"] if text.startswith("prompts had")]


def test_prompts_as_planned_are_told_and_not_warned_of(tmp_path: Path) -> None:
    engine = measured(tmp_path, PLANNED)
    assert engine["prompt_lengths"] == {
        "counted_ratio": 1.0,
        "first_counted_ratio": 1.0,
        "planned_tokens": 76,
        "counted_tokens": 76,
        "num_told_turns": 5,
        "num_turns_off": 0,
        "sized_by": "usage",
        "tokens_per_word": 2.0,
        "template_tokens": 4,
        "unavailable": {},
    }
    assert said_of(engine) == []
    assert prompt_lengths_text(engine["prompt_lengths"]) == (
        "prompts: 76 tokens counted for 76 planned (1.000×, first prompts 1.000×; 0 of 5 turns off "
        "by more than 5 %), sized by the server's usage"
    )


def test_what_the_trial_itself_put_before_a_conversation_is_planned_too(tmp_path: Path) -> None:
    counts = [num + 8 for num in PLANNED]
    engine = measured(tmp_path, counts, isolation=Isolation(by="words", salt="s", num_tokens=8))
    assert engine["prompt_lengths"]["counted_ratio"] == 1.0


def test_a_turn_that_the_server_does_not_count_is_left_out(tmp_path: Path) -> None:
    found = measured(tmp_path, (None, 23, None, 10, None))["prompt_lengths"]
    assert (found["num_told_turns"], found["planned_tokens"]) == (2, 33)
    (tmp_path / "none").mkdir()
    engine = measured(tmp_path / "none", (None,) * 5)
    assert engine["prompt_lengths"]["counted_ratio"] is None
    assert "does not count" in engine["prompt_lengths"]["unavailable"]["counted_ratio"]
    assert prompt_lengths_text(engine["prompt_lengths"]) is None


@pytest.mark.parametrize(
    ("counts", "lengths", "says"),
    [
        ((10, 33, 10, 10, 33), SIZED, "first prompts are as long as planned (1.00 times), but"),
        ((20, 43, 20, 20, 43), SIZED, "the server counts the plan's words otherwise than"),
        (
            (20, 43, 20, 20, 43),
            SIZED.model_copy(update={"first_tokens": 18}),
            "3 first turns ask for less than the 18 tokens that the server's template puts there",
        ),
        (
            (20, 43, 20, 20, 43),
            PromptLengths(by="none", num_words=253, note="usage told no prompt's tokens"),
            "nobody told how many it makes (usage told no prompt's tokens); set count_tokens",
        ),
    ],
)
def test_a_deviation_is_said_with_its_reason(
    counts: tuple[int, ...], lengths: PromptLengths, says: str, tmp_path: Path
) -> None:
    [said] = said_of(measured(tmp_path, counts, lengths))
    ratio = sum(counts) / sum(PLANNED)
    assert said.startswith(f"prompts had {ratio:.2f} times the planned tokens by the server's")
    assert says in said and "\n" not in said


@settings(max_examples=25, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=5, max_size=5))
def test_the_ratio_is_that_of_the_sums(
    counts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    engine = measured(tmp_path_factory.mktemp("run"), counts)
    found = engine["prompt_lengths"]
    assert found["counted_ratio"] == pytest.approx(sum(counts) / sum(PLANNED))
    off = [abs(num / planned - 1) > 0.05 for num, planned in zip(counts, PLANNED, strict=True)]
    assert found["num_turns_off"] == sum(off)
    assert bool(said_of(engine)) == (abs(sum(counts) / sum(PLANNED) - 1) > 0.05)
