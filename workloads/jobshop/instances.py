"""Job-shop instances: the standard text format, the shipped sets, and random ones.

The standard format: `jobs machines`, then a line for each job of `machine duration` pairs in the
order of its operations, machines from 0. Lines that begin with `#` are comments; so is what stands
before the sizes, as in the collections that hold a name and a description there.

The shipped instances are Fisher and Thompson's (ft), Adams, Balas and Zawack's (abz), Lawrence's
(la) and Applegate and Cook's (orb). `data/optima.csv` has the proven least makespans with blocking
and swaps allowed, from ScheduleOpt/optalcp-benchmarks.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from workloads.errors import WorkloadError

DATA = Path(__file__).with_name("data")
OPTIMA = DATA / "optima.csv"
Integers = npt.NDArray[np.int64]
LARGEST = 1000  # jobs or machines; what is larger is taken for a mistake


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    name: str
    machine: Integers  # [n, m]: the machine of each job's k-th operation
    duration: Integers  # [n, m]
    optimum: int | None = None  # the least makespan without interruptions, where it is proven

    @property
    def num_jobs(self) -> int:
        return len(self.machine)

    @property
    def num_machines(self) -> int:
        return len(self.machine[0])


def _numbered(prefix: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number:02d}" for number in range(first, last + 1))


SETS: dict[str, tuple[str, ...]] = {
    "proven-29": (
        "ft06", "ft10", "abz5", "abz6", *_numbered("la", 1, 10), *_numbered("la", 16, 20),
        *_numbered("orb", 1, 10),
    ),
    "la-20x5": _numbered("la", 11, 15),
    "la-15x15": _numbered("la", 36, 40),
}  # fmt: skip


def load_set(name: str) -> list[Instance]:
    """Returns the shipped set's instances, in its order."""
    if name not in SETS:
        raise WorkloadError(f"instances.set must be one of: {', '.join(SETS)}; got {name!r}")
    with OPTIMA.open(encoding="utf-8", newline="") as file:
        optima = {row["instance"]: int(row["makespan"]) for row in csv.DictReader(file)}
    return [read_instance(DATA / f"{each}.txt", optima.get(each)) for each in SETS[name]]


def load_path(path: Path) -> list[Instance]:
    """Returns the file's instance, or those of all .txt files in the folder, by name."""
    if not path.is_dir():
        return [read_instance(path)]
    found = [read_instance(each) for each in sorted(path.glob("*.txt"))]
    if not found:
        raise WorkloadError(f"{path}: has no .txt file; put one instance into each")
    return found


def read_instance(path: Path, optimum: int | None = None) -> Instance:
    """Returns the file's instance, named by the file. Raises WorkloadError, one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorkloadError(f"{path}: no such instance file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"{path}: can not be read: {error}") from None
    rows = _rows(text)
    sizes = next((at for at, row in enumerate(rows) if len(row.numbers) == 2), None)
    if sizes is None:
        raise WorkloadError(f"{path}: must have a line `jobs machines`, two whole numbers")
    jobs, machines = rows[sizes].numbers
    if not (1 <= jobs <= LARGEST and 1 <= machines <= LARGEST):
        raise WorkloadError(
            f"{path}:{rows[sizes].line}: jobs and machines must be 1 to {LARGEST}, "
            f"got {jobs} {machines}"
        )
    table = _job_table(path, rows[sizes + 1 :], jobs, machines)
    return Instance(
        name=path.stem,
        machine=np.ascontiguousarray(table[:, ::2]),
        duration=np.ascontiguousarray(table[:, 1::2]),
        optimum=optimum,
    )


def write_instance(instance: Instance, path: Path) -> None:
    """Writes the instance in the standard format."""
    pairs = zip(instance.machine.tolist(), instance.duration.tolist(), strict=True)
    lines = [
        "  ".join(f"{machine} {length}" for machine, length in zip(*job, strict=True))
        for job in pairs
    ]
    head = f"{instance.num_jobs} {instance.num_machines}"
    path.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def random_instance(
    name: str,
    random: np.random.Generator,
    *,
    jobs: int,
    machines: int,
    low: int = 5,
    high: int = 99,
) -> Instance:
    """Returns an instance with a random order of machines and durations in [low, high]."""
    orders = np.tile(np.arange(machines, dtype=np.int64), (jobs, 1))
    return Instance(
        name=name,
        machine=random.permuted(orders, axis=1),
        duration=random.integers(low, high + 1, size=(jobs, machines), dtype=np.int64),
    )


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    numbers: list[int]


def _rows(text: str) -> list[_Row]:
    """Returns the lines that hold nothing but whole numbers."""
    rows: list[_Row] = []
    for line, content in enumerate(text.splitlines(), 1):
        try:
            numbers = [int(word) for word in content.split()]
        except ValueError:
            numbers = []
        if numbers or (rows and content.strip() and not content.lstrip().startswith("#")):
            rows.append(_Row(line, numbers))
    return rows


def _job_table(path: Path, rows: list[_Row], jobs: int, machines: int) -> Integers:
    """Returns [jobs, 2 × machines], checked."""
    if len(rows) != jobs:
        raise WorkloadError(f"{path}: must have {jobs} lines of jobs, got {len(rows)}")
    for row in rows:
        _check_job(f"{path}:{row.line}", row.numbers, machines)
    return np.array([row.numbers for row in rows], dtype=np.int64)


def _check_job(where: str, numbers: list[int], machines: int) -> None:
    if len(numbers) != 2 * machines:
        raise WorkloadError(
            f"{where}: must hold {machines} pairs `machine duration` of whole numbers, "
            f"got {len(numbers)} whole numbers"
        )
    order, durations = numbers[::2], numbers[1::2]
    for machine in order:
        if not 0 <= machine < machines:
            raise WorkloadError(
                f"{where}: machines are numbered 0 to {machines - 1}, got {machine}"
            )
    twice = [machine for machine in order if order.count(machine) > 1]
    if twice:
        raise WorkloadError(
            f"{where}: a job must visit each machine once (a permutation), "
            f"got machine {twice[0]} {order.count(twice[0])} times"
        )
    if min(durations) < 0:
        raise WorkloadError(f"{where}: durations must be ≥ 0, got {min(durations)}")
