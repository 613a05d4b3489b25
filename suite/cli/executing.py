"""The options that all commands share which run something: where cells run, how they are
stopped."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from suite.sweep.executors import Executor

Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Cells at a time, simulated engines only; default: one a core."),
]
On = Annotated[
    str | None,
    typer.Option(
        metavar="ray[://HOST:PORT]", help="Run cells on a Ray cluster, or on a local one."
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The options' choice of where cells run and where their directories go."""

    root: Path  # where a new directory goes
    resume: Path | None
    jobs: int | None
    on: str | None


def interrupt_on_sigterm() -> None:
    """Makes SIGTERM act as Ctrl-C: what was measured is kept, no process is left."""

    def interrupt(number: int, _: object) -> None:
        raise KeyboardInterrupt(number)

    signal.signal(signal.SIGTERM, interrupt)


def executor_for(where: Where, *, are_virtual: bool, num_workers: int = 1) -> Executor:
    """Returns what runs the cells; engines in wall time go one after another. Raises InputError."""
    import os

    from suite.sweep.executors import OneAfterAnother, OverCores
    from suite.sweep.ray_executor import OverRay, load_ray
    from workloads.errors import InputError

    if not are_virtual:
        for name, value in {"--on": where.on, "--jobs": where.jobs}.items():
            if value is not None and value != 1:
                raise InputError(
                    f"{name} {value}: an engine of this workload runs in wall time, and its cells "
                    f"one after another, or they would disturb each other; leave {name} out"
                )
        return OneAfterAnother(num_workers)
    if where.on is not None:
        return OverRay(load_ray(where.on), where.on)
    return OverCores(where.jobs or len(os.sched_getaffinity(0)))
