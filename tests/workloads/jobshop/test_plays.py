"""A plan of plays: all by the seed, the same for everybody, as often as the file says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from workloads.jobshop.instances import random_instance
from workloads.jobshop.interruptions import NEVER, Failing, draw_interruptions
from workloads.jobshop.plays import PlannedPlay, instances_of, plan_plays
from workloads.jobshop.spec import InstancesSpec, InterruptionsSpec

RANDOM = {"random": {"jobs": [2, 4], "machines": [2, 3], "count": 3}}


def _plays(seed: int, *, repeats: int = 2, **interruptions: object) -> list[PlannedPlay]:
    instances = instances_of(InstancesSpec.model_validate(RANDOM), seed)
    spec = InterruptionsSpec.model_validate(interruptions)
    return list(plan_plays(instances, spec, repeats=repeats, seed=seed))


def test_there_is_a_play_of_each_instance_repeat_and_probability() -> None:
    plays = _plays(1, probability=[0.0, 0.5])
    assert len({(each.instance.name, each.repeat, each.probability) for each in plays}) == 12
    assert len({each.seed for each in plays}) == 6


@pytest.mark.parametrize("model", ["per_operation", "per_time"])
def test_the_same_seed_gives_the_same_plays(model: str) -> None:
    def all_of(seed: int) -> list[object]:
        plays = _plays(seed, probability=[0.1], model=model)
        return [
            (play.seed, play.instance.duration.tolist(), play.interruptions.hit_offset.tolist(),
             play.interruptions.window_start.tolist())
            for play in plays
        ]  # fmt: skip

    assert all_of(7) == all_of(7) != all_of(8)


def test_a_higher_probability_interrupts_the_same_and_more() -> None:
    few, many = _plays(3, repeats=1, probability=[0.2, 0.7])[:2]
    hit = few.interruptions.hit_offset >= 0
    for name in ("hit_offset", "hit_length"):
        one, two = getattr(few.interruptions, name), getattr(many.interruptions, name)
        assert np.array_equal(one[hit], two[hit])
    assert (many.interruptions.hit_offset >= 0).sum() >= hit.sum()


@given(seed=st.integers(0, 2**32 - 1), probability=st.floats(0, 1))
def test_operations_are_hit_inside_their_work_for_a_length_in_bounds(
    seed: int, probability: float
) -> None:
    random = np.random.default_rng(seed)
    instance = random_instance("x", random, jobs=6, machines=4, low=0)
    failing = Failing(model="per_operation", probability=probability, shortest=3, longest=8)
    drawn = draw_interruptions(instance, random, failing)
    hit = drawn.hit_offset >= 0
    assert (drawn.hit_offset < instance.duration)[hit].all()
    assert ((drawn.hit_length >= 3) & (drawn.hit_length <= 8))[hit].all()
    assert (drawn.hit_length[~hit] == 0).all()


@given(seed=st.integers(0, 2**32 - 1), probability=st.floats(0.001, 1))
def test_calendars_are_in_order_apart_and_within_the_horizon(seed: int, probability: float) -> None:
    random = np.random.default_rng(seed)
    instance = random_instance("x", random, jobs=2, machines=3)
    failing = Failing(model="per_time", probability=probability, shortest=2, longest=9, horizon=500)
    drawn = draw_interruptions(instance, random, failing)
    for starts, ends in zip(drawn.window_start, drawn.window_end, strict=True):
        real = starts < NEVER
        assert (starts[real] < 500).all()
        assert ((ends - starts)[real] >= 2).all() and ((ends - starts)[real] <= 9).all()
        assert (starts[real][1:] > ends[real][:-1]).all()


def test_machines_fail_as_often_as_the_probability_says() -> None:
    random = np.random.default_rng(1)
    instance = random_instance("x", random, jobs=200, machines=50)
    drawn = draw_interruptions(instance, random, Failing(model="per_operation", probability=0.2))
    assert 0.18 < (drawn.hit_offset >= 0).mean() < 0.22
    assert 50 < drawn.hit_length[drawn.hit_offset >= 0].mean() < 54


@pytest.mark.parametrize(
    ("interruptions", "words"),
    [
        ({"probability": [1.5]}, "less than or equal to 1"),
        ({"probability": [-0.1]}, "greater than or equal to 0"),
        ({"probability": []}, "at least 1 item"),
        ({"probability": [0.1, 0.1]}, "must name each value once"),
        ({"length": {"min": 9, "max": 5}}, "min must be ≤ max, got min 9 and max 5"),
        ({"horizon": 50}, "length.max must be < horizon, or an interruption outlasts it"),
        ({"model": "per_day"}, "'per_operation' or 'per_time'"),
    ],
)
def test_wrong_interruptions_are_refused(interruptions: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        InterruptionsSpec.model_validate(interruptions)


@pytest.mark.parametrize(
    ("instances", "words"),
    [
        ({}, "must have one of set, random, path, got none"),
        ({"set": "proven-29", "path": "x"}, "got set and path"),
        (
            {"random": {**RANDOM["random"], "jobs": [4, 2]}},
            "must be .low, high. with 1 ≤ low ≤ high",
        ),
        ({"random": {**RANDOM["random"], "machines": [0, 2]}}, "machines must be"),
    ],
)
def test_wrong_instances_are_refused(instances: object, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        InstancesSpec.model_validate(instances)


def test_a_path_is_taken_from_the_workload_files_folder(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("1 1\n0 3\n")
    spec = InstancesSpec.model_validate({"path": "mine.txt"}).relative_to(tmp_path)
    assert instances_of(spec, 0)[0].duration.tolist() == [[3]]
