"""Sweeps in a workload file: their cells, names and order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.workloads.examples import SMALL, write_small
from workloads.errors import WorkloadError
from workloads.matrix import Matrix, axis_labels, read_matrix, value_names
from workloads.source import read_source
from workloads.spec import WorkloadSpec, spec_of

SWEPT = SMALL + "matrix:\n  arrivals.rate: [0.5, 1, 1.5]\n  seed: [1, 2]\n"


def matrix_of(folder: Path, *overrides: str, text: str = SWEPT) -> Matrix:
    found = read_matrix(read_source(write_small(folder, text), overrides))
    assert found is not None
    return found


def specs_of(matrix: Matrix) -> list[WorkloadSpec]:
    return [spec_of(cell.source) for cell in matrix.cells]


def refusal(folder: Path, *overrides: str, matrix: str) -> str:
    with pytest.raises(WorkloadError) as caught:
        specs_of(matrix_of(folder, *overrides, text=f"{SMALL}matrix: {matrix}\n"))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_cells_are_the_product_in_the_files_order_the_last_axis_fastest(tmp_path: Path) -> None:
    matrix = matrix_of(tmp_path)
    names = [f"rate={rate},seed={seed}" for rate in ("0.5", "1.0", "1.5") for seed in (1, 2)]
    assert [cell.name for cell in matrix.cells] == names
    assert [(each.arrivals.rate, each.seed) for each in specs_of(matrix)] == [  # type: ignore[union-attr]
        (rate, seed) for rate in (0.5, 1.0, 1.5) for seed in (1, 2)
    ]
    assert matrix.cells[2].values == {"arrivals.rate": 1, "seed": 1}


def test_a_star_stands_for_every_engine_also_with_dots_in_its_name(tmp_path: Path) -> None:
    text = SMALL + 'matrix: {"engines.*.kv_tokens": [64, 128]}\n'
    matrix = matrix_of(tmp_path, text=text)
    assert [cell.name for cell in matrix.cells] == ["kv_tokens=64", "kv_tokens=128"]
    for spec, tokens in zip(specs_of(matrix), (64, 128), strict=True):
        assert {entry["kv_tokens"] for entry in spec.engines.values()} == {tokens}
        assert list(spec.engines) == ["fcfs", "vllm-0.3"]


def test_set_changes_the_base_and_the_matrix_itself(tmp_path: Path) -> None:
    overrides = ("conversations.count=3", "matrix.seed=[5]", "matrix.arrivals.rate=[2]")
    matrix = matrix_of(tmp_path, *overrides)
    assert [cell.name for cell in matrix.cells] == ["rate=2,seed=5"]
    assert specs_of(matrix)[0].conversations.count == 3
    assert read_matrix(read_source(tmp_path / "small.yaml", ["matrix={}"])) is None


def test_labels_are_short_where_they_are_unlike() -> None:
    assert axis_labels(["arrivals.rate", "engines.*.kv_tokens", "seed"]) == {
        "arrivals.rate": "rate",
        "engines.*.kv_tokens": "kv_tokens",
        "seed": "seed",
    }
    assert list(axis_labels(["engines.vllm-0.3.preset", "engines.b.preset"]).values()) == [
        "vllm-0.3.preset",
        "b.preset",
    ]


def test_values_that_are_no_folder_names_are_numbered() -> None:
    assert value_names([True, False]) == ("true", "false")
    assert value_names([1, 2.5]) == ("1.0", "2.5")
    assert value_names(["vllm-0.3", "fastswitch"]) == ("vllm-0.3", "fastswitch")
    assert value_names([{"pattern": "none"}, "a/b"]) == ("variant1", "variant2")
    assert value_names(["1", 1]) == ("variant1", "variant2")


VALUES = st.one_of(
    st.integers(), st.floats(allow_nan=False), st.text(), st.booleans(), st.none(), st.just([1])
)


@given(st.lists(VALUES, min_size=1, max_size=8))
def test_value_names_are_distinct_and_name_folders(values: list[object]) -> None:
    names = value_names(values)
    if len({repr(value) for value in values}) == len(values) and not any(
        isinstance(value, int | float) for value in values
    ):
        assert len(set(names)) == len(values)
    for name in names:
        assert name and "/" not in name and name not in (".", "..")


@pytest.mark.parametrize(
    ("matrix", "problem"),
    [
        ("[1]", "matrix must be a mapping (key: list), got [1]"),
        ("{seed: 1}", "matrix.seed must be a list of one or more values, got 1"),
        ("{seed: []}", "matrix.seed must be a list of one or more values, got []"),
        ("{seed: [1, 2, 1]}", "matrix.seed must have each value once, got 1 twice"),
        ("{arrivals.rate: [1, 1.0]}", "matrix.arrivals.rate must have each value once"),
        ("{name: [a, b]}", "matrix.name can not be swept"),
        ("{sede: [1]}", "matrix.sede = 1: sede is unknown; did you mean seed?"),
        ("{arrivals.rate: [1, -2]}", "matrix.arrivals.rate = -2: arrivals.rate must be > 0"),
        ("{arrivals.rte: [1]}", "arrivals.rte is unknown; did you mean rate?"),
        ("{seed.x: [1]}", "matrix.seed.x = 1: 'x' can not be set inside 7"),
        (
            "{seed: [0,1,2,3,4,5,6,7,8,9,10], repeats: [1,2,3,4,5,6,7,8,9,10], "
            "arrivals.rate: [1,2,3,4,5,6,7,8,9,10]}",
            "matrix must have no more than 1,000 cells, got 11 × 10 × 10 = 1,100",
        ),
    ],
)
def test_a_matrix_that_can_not_be_run_is_refused(tmp_path: Path, matrix: str, problem: str) -> None:
    message = refusal(tmp_path, matrix=matrix)
    assert problem in message and message.startswith(str(tmp_path / "small.yaml"))


def test_setting_what_is_swept_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, "seed=3", matrix="{seed: [1, 2]}")
    assert message.startswith("--set seed=3: would have no effect")
    star = refusal(
        tmp_path, "engines.fcfs.kv_tokens=32", matrix='{"engines.*.kv_tokens": [64, 128]}'
    )
    assert star.startswith("--set engines.fcfs.kv_tokens=32: would have no effect")
