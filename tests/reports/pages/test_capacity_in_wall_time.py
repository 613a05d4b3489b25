"""The page of a search in wall time: what is known of each rate, the knee, what limited."""

from __future__ import annotations

import pytest

from reports.pages.capacity import write_capacity
from reports.words.limiting import limited_by
from suite.measuring.limits import Limits
from suite.sweep.capacity_result import (
    CapacityResult,
    RateSeen,
    SeedCapacity,
    engine_capacities,
)
from tests.reports.pages.test_html import Page
from tests.reports.pages.test_sweep_page import manifest_of, runs_of
from tests.reports.synthetic_run import FAST, make_plan, write_run

LATE = Limits(
    num_missed=40,
    late_ratio=0.75,
    failed_ratio=0.0,
    queueing_ratio=0.6,
    preemption_ratio=0.1,
    num_preemptions=3,
    is_driver_valid=True,
    is_pace_kept=None,
)
SLOW_MACHINE = LATE.model_copy(update={"is_pace_kept": False})
NONE = LATE.model_copy(update={"num_missed": 0, "late_ratio": None, "failed_ratio": None})


def seen(rate: float, answer: str, users: tuple[int, int], ends: tuple[float, float]) -> RateSeen:
    within, num = users
    return RateSeen(
        rate=rate,
        answer=answer,
        is_finished=True,
        num_users=num,
        num_within_slo=within,
        interval=ends,
        num_turns=2 * num,
        num_turns_failed=0,
        duration_s=30.0,
        limits=LATE if answer == "fails" else NONE,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Page:
    folder = tmp_path_factory.mktemp("capacity")
    run = write_run(folder, {"mine": FAST}, plan=make_plan(num_conversations=6), repeats=1)
    rates = [
        seen(2.0, "holds", (106, 106), (0.901, 1.0)),
        seen(2.2, "unsure", (240, 240), (0.95, 1.0)),
        seen(2.42, "unsure", (216, 240), (0.8, 0.97)),
        seen(2.54, "unsure", (10, 40), (0.01, 0.6)).model_copy(update={"limits": SLOW_MACHINE}),
        seen(2.66, "fails", (20, 50), (0.02, 0.82)),
    ]
    found = CapacityResult(
        name="load",
        target_ratio=0.9,
        tolerance_ratio=0.1,
        num_conversations=300,
        baseline=None,
        engines=engine_capacities(
            {"mine": [SeedCapacity(seed=7, rate=2.0, next_rate=2.66)]}, None, {"mine": rates}
        ),
    )
    manifest = manifest_of(
        {"arrivals.rate": [each.rate for each in rates], "seed": [7]}, kind="capacity"
    )
    return Page(write_capacity(manifest, runs_of(manifest, run), folder / "s", found).read_text())


def words(page: Page) -> str:
    return " ".join(page.text.split())


def test_it_says_between_which_rates_the_capacity_lies(page: Page) -> None:
    assert "with 90 % of the users within SLO: mine 2 to 2.66." in words(page)
    assert "2 held, 2.66 did not" in words(page)


def test_every_rate_has_its_answer_and_why_there_is_none(page: Page) -> None:
    assert "106 of 106" in words(page) and "in the long run at least 90.1 %" in words(page)
    assert "20 of 50" in words(page) and "in the long run at most 82 %" in words(page)
    assert "waits went on growing, so that the share will fall" in words(page)
    assert "not the engine: this machine did not keep the GPU's pace" in words(page)
    assert "too near to the target for 240 users to tell" in words(page)


def test_what_limited_is_told_of_the_lowest_rate_that_fails(page: Page) -> None:
    assert "of 40 turns that missed 75 % waited too long for the first token" in words(page)
    assert "3 preemptions; the driver was in its bounds" in words(page)


def test_the_figures_show_the_knee_and_only_the_end_that_decided(page: Page) -> None:
    figure = page.figures["capacity-users"]
    bands = [each for each in figure["layout"]["shapes"] if each["type"] == "rect"]
    assert [(each["x0"], each["x1"]) for each in bands] == [pytest.approx((2.0, 2.66))]
    (marks,) = figure["data"]
    above, below = marks["error_y"]["array"], marks["error_y"]["arrayminus"]
    assert above == pytest.approx([0, 0, 0.07, 0.35, 0.42]) and below[4] == 0
    assert below[:3] == pytest.approx([0.099, 0.05, 0.1])
    assert [symbol.endswith("-open") for symbol in marks["marker"]["symbol"]] == [
        *(False, True, True, True, False)
    ]
    tails = page.figures["sweep-tokens"]["layout"]
    assert [(each["x0"], each["x1"]) for each in tails["shapes"]] == [pytest.approx((2.0, 2.66))]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "queueing"),
        ({"is_driver_valid": False}, "not the engine: the driver was late itself"),
        ({"is_pace_kept": False}, "not the engine: this machine did not keep the GPU's pace"),
        ({"failed_ratio": 0.6}, "failing turns"),
        ({"preemption_ratio": 0.7}, "preemption"),
        ({"late_ratio": 0.1}, "slow steps: too much in a batch"),
        ({"queueing_ratio": None, "preemption_ratio": None}, "queueing: first tokens came late"),
        (
            {"queueing_ratio": None, "preemption_ratio": None, "late_ratio": 0.2},
            "slow tokens: gaps were too long",
        ),
        ({"num_missed": 0}, "nothing: no turn missed"),
    ],
)
def test_the_cause_is_named_and_what_is_not_the_engine_first(
    changes: dict[str, object], words: str
) -> None:
    assert limited_by(LATE.model_copy(update=changes)) == words
