"""A simulated workload that takes a tenth of a second, and sweeps of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from suite.sweep.cells import SweepCell, load_cells
from workloads.matrix import Matrix, read_matrix
from workloads.source import WorkloadSource, read_source

ENGINE = {"kind": "simulated", "profile": "a10-llama3-8b", "kv_tokens": 512, "swap_tokens": 4096}
TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "conversations": {
        "source": "fixed",
        "count": 6,
        "turns": 2,
        "prompt_tokens": 40,
        "output_tokens": 6,
    },
    "arrivals": {"process": "poisson", "rate": 2.0},
    "users": {"all": {"share": 1.0, "slo": {"ttft": "120ms", "tbt": "1s", "attainment": 1.0}}},
    "priorities": {"pattern": "random", "levels": 4, "update_frequency": 0.25},
    "engines": {
        "vllm-0.3": {**ENGINE, "preset": "vllm-0.3"},
        "fastswitch": {**ENGINE, "preset": "fastswitch"},
    },
    "baseline": "vllm-0.3",
}
MATRIX = {"arrivals.rate": [2.0, 8.0], "seed": [3, 4]}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, **changes}, sort_keys=False))
    return path


def source_of(folder: Path, **changes: Any) -> WorkloadSource:
    return read_source(write(folder, **changes))


def sweep_of(folder: Path, **changes: Any) -> tuple[WorkloadSource, Matrix, tuple[SweepCell, ...]]:
    source = source_of(folder, **{"matrix": MATRIX, **changes})
    matrix = read_matrix(source)
    assert matrix is not None
    return source, matrix, load_cells(matrix.cells)
