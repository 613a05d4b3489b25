"""Instances come out of files as they went in; what is none is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workloads.errors import WorkloadError
from workloads.jobshop.instances import (
    SETS,
    load_path,
    load_set,
    random_instance,
    read_instance,
    write_instance,
)


def test_the_proven_set_is_whole_and_known() -> None:
    instances = {each.name: each for each in load_set("proven-29")}
    assert len(instances) == 29
    ft06 = instances["ft06"]
    assert ft06.machine[0].tolist() == [2, 0, 1, 3, 5, 4]
    assert ft06.duration[0].tolist() == [1, 3, 6, 7, 3, 6]
    assert ft06.optimum == 63
    assert (instances["la06"].num_jobs, instances["la06"].num_machines) == (15, 5)
    assert sum(each.optimum or 0 for each in instances.values()) == 28_301


@pytest.mark.parametrize(("name", "shape"), [("la-20x5", (20, 5)), ("la-15x15", (15, 15))])
def test_the_larger_sets_are_of_their_sizes(name: str, shape: tuple[int, int]) -> None:
    assert len(SETS[name]) == 5
    for each in load_set(name):
        assert each.machine.shape == each.duration.shape == shape
        assert each.optimum is None


@pytest.mark.parametrize("name", SETS)
def test_every_optimum_is_at_least_what_one_job_or_machine_needs(name: str) -> None:
    for each in load_set(name):
        busy = [
            each.duration[each.machine == machine].sum() for machine in range(each.num_machines)
        ]
        if each.optimum is not None:
            assert each.optimum >= max(*busy, *each.duration.sum(axis=1))


@given(seed=st.integers(0, 2**32 - 1), jobs=st.integers(1, 12), machines=st.integers(1, 12))
def test_a_written_instance_reads_back(
    tmp_path_factory: pytest.TempPathFactory, seed: int, jobs: int, machines: int
) -> None:
    path = tmp_path_factory.mktemp("instances") / "mine.txt"
    random = np.random.default_rng(seed)
    instance = random_instance("mine", random, jobs=jobs, machines=machines)
    write_instance(instance, path)
    again = read_instance(path)
    assert again.name == "mine"
    assert np.array_equal(again.machine, instance.machine)
    assert np.array_equal(again.duration, instance.duration)


def test_words_before_the_sizes_and_comments_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_text("instance mine\n\n# 7 7 of old\n 1  2 \n# its only job\n 1 5  0 3\n\n")
    assert read_instance(path).machine.tolist() == [[1, 0]]


def test_a_folder_gives_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.txt").write_text("1 1\n0 3\n")
    assert [each.name for each in load_path(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", ": must have a line `jobs machines`, two whole numbers"),
        ("2 2\n0 1 1 2\n", ": must have 2 lines of jobs, got 1"),
        (
            "1 2\n0 1 0 2\n",
            ":2: a job must visit each machine once (a permutation), got machine 0 2",
        ),
        ("1 2\n0 1 2 2\n", ":2: machines are numbered 0 to 1, got 2"),
        ("1 2\n-1 1 1 2\n", ":2: machines are numbered 0 to 1, got -1"),
        ("1 2\n0 1 1 -2\n", ":2: durations must be ≥ 0, got -2"),
        ("1 2\n0 1 1\n", ":2: must hold 2 pairs `machine duration` of whole numbers, got 3 whole"),
        (
            "1 2\n0 1 1 x\n",
            ":2: must hold 2 pairs `machine duration` of whole numbers, got 0 whole",
        ),
        ("0 2\n", ":1: jobs and machines must be 1 to 1000, got 0 2"),
        ("5 5000\n", ":1: jobs and machines must be 1 to 1000, got 5 5000"),
    ],
)
def test_what_is_no_instance_is_refused(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "bad.txt"
    path.write_text(content)
    with pytest.raises(WorkloadError) as error:
        read_instance(path)
    assert str(error.value).startswith(f"{path}{words}")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"none.txt: no such instance file"):
        load_path(tmp_path / "none.txt")
    with pytest.raises(WorkloadError, match=r"has no .txt file; put one instance into each"):
        load_path(tmp_path)
    with pytest.raises(WorkloadError, match=r"must be one of: proven-29, .*; got 'prooven'"):
        load_set("prooven")
