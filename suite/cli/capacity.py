"""`capacity`: the highest arrival rate at which enough users are within SLO, engine by engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.app import ExitCode, Overrides, app
from suite.cli.attaching import meet_server
from suite.cli.executing import Jobs, On, Where, executor_for, interrupt_on_sigterm
from suite.cli.sweeping import how_to_go_on, write_page
from suite.cli.workload_argument import WorkloadArgument, read_workload
from suite.plurals import several

if TYPE_CHECKING:
    from suite.playing.workload import Workload
    from suite.sweep.budget import Budget
    from suite.sweep.capacity_request import CapacityRequest
    from suite.sweep.capacity_result import CapacityResult
    from suite.sweep.capacity_search import CapacitySearch
    from suite.sweep.directory import SweepDirectory
    from suite.sweep.executors import Executor
    from workloads.source import WorkloadSource

# Neighbouring rates: a run costs nothing in virtual time, minutes in wall time.
TOLERANCE = {True: 0.05, False: 0.1}
FIRST_RATE = 1.0  # conversations a second, of a server that was named in place of a file


Target = Annotated[float, typer.Option(help="Share of users within SLO, at least (0–1).")]
Limit = Annotated[
    str | None, typer.Option(metavar="20m", help="The time it may take; engines in wall time only.")
]
Users = Annotated[
    int | None, typer.Option(min=1, help="Users judged at a rate at most (240); wall time only.")
]
Seeds = Annotated[
    int | None,
    typer.Option(min=1, help="Seeds: the workload's and the next (3); virtual time only."),
]
Low = Annotated[float | None, typer.Option(help="Conversations per second; default: found.")]
High = Annotated[float | None, typer.Option(help="Likewise.")]
Tolerance = Annotated[
    float | None,
    typer.Option(
        help="Step between the rates that are tried, as a ratio (0.05; in wall time 0.1)."
    ),
]
Resumed = Annotated[
    Path | None, typer.Option(metavar="DIR", help="A search's directory: its cells are used.")
]


@app.command()
def capacity(
    named: WorkloadArgument,
    *,
    overrides: Overrides = None,
    target: Target = 0.9,
    budget: Limit = None,
    users: Users = None,
    seeds: Seeds = None,
    low: Low = None,
    high: High = None,
    tolerance: Tolerance = None,
    workers: Annotated[int, typer.Option(min=1, help="Driver processes.")] = 1,
    out: Annotated[Path, typer.Option(help="Where a new directory goes.")] = Path("runs"),
    resume: Resumed = None,
    jobs: Jobs = None,
    on: On = None,
) -> None:
    """Find the highest arrival rate at which enough users are within SLO, engine by engine.

    In wall time each rate is played until it is clear on which side of the target it lies."""
    from suite.playing.workload import resolve_workload
    from suite.sweep.capacity_request import CapacityRequest
    from workloads.attach import base_url_of

    source = _read(named, overrides)
    workload = resolve_workload(source)
    _refuse_others(workload, budget=budget, users=users, seeds=seeds)
    request = CapacityRequest(
        target_ratio=target,
        num_seeds=3 if seeds is None else seeds,
        tolerance_ratio=TOLERANCE[workload.is_virtual] if tolerance is None else tolerance,
        low=low,
        high=high,
        **({} if users is None else {"num_users": users}),
    )
    where = Where(root=out, resume=resume, jobs=jobs, on=on)
    _find(source, workload, request, where, base_url_of(named), _seconds(budget), workers)


def _find(
    source: WorkloadSource,
    workload: Workload,
    request: CapacityRequest,
    where: Where,
    base_url: str | None,
    limit_s: float | None,
    num_workers: int,
) -> None:
    """Searches and shows what was found. Leaves by the exit code."""
    from reports.text.sweep_tables import show_capacity
    from suite.sweep.budget import Budget
    from suite.sweep.capacity_search import CapacitySearch

    limit = Budget(limit_s)
    search = CapacitySearch(source, workload, request, limit)
    executor = executor_for(where, are_virtual=workload.is_virtual)  # refuses what can not be
    if base_url is not None:
        meet_server(base_url, workload)
    interrupt_on_sigterm()
    sweep = _directory(where, source, workload)
    try:
        if workload.is_virtual:
            found = _search_virtually(search, sweep, executor, workload)
        else:
            found = _search(search, sweep, workload, limit, num_workers=num_workers)
    except KeyboardInterrupt:
        typer.echo(how_to_go_on(sweep.path), err=True)
        raise typer.Exit(ExitCode.INCOMPLETE) from None
    show_capacity(found, found.write(sweep.path))
    write_page(sweep)
    raise typer.Exit(ExitCode.FINE if found.is_complete else ExitCode.INCOMPLETE)


def _search_virtually(
    search: CapacitySearch, sweep: SweepDirectory, executor: Executor, workload: Workload
) -> CapacityResult:
    from suite.sweep.sweep_display import SweepDisplay

    engines = several(len(workload.engines), "engine")
    typer.echo(f"{sweep.path}: {engines} × {several(search.judge.num_seeds, 'seed')}", err=True)
    with SweepDisplay(f"{workload.spec.name} capacity") as progress:
        return search.run(sweep, executor, on_cell=progress.on_cell, expect=progress.expect)


def _search(
    search: CapacitySearch,
    sweep: SweepDirectory,
    workload: Workload,
    budget: Budget,
    *,
    num_workers: int,
) -> CapacityResult:
    """Searches in wall time, one rate after another, and shows how the bracket closes."""
    from suite.sweep.capacity_display import CapacityDisplay
    from suite.sweep.rates_one_by_one import RatesOneByOne

    limit = "" if budget.limit_s is None else f", at most {budget.limit_s / 60:g} min"
    engines = several(len(workload.engines), "engine")
    typer.echo(f"{sweep.path}: {engines} in wall time{limit}", err=True)
    name, target_ratio = workload.spec.name, search.target_ratio
    with CapacityDisplay(name, list(workload.engines), target_ratio, budget) as display:
        executor = RatesOneByOne(
            looks=search.looks, budget=budget, display=display, num_workers=num_workers
        )
        return search.run(
            sweep,
            executor,
            on_cell=display.on_cell,
            expect=lambda _: None,
            on_bracket=display.on_bracket,
        )


def _refuse_others(workload: Workload, **options: object) -> None:
    """Refuses options of the other kind of time. Raises InputError."""
    from workloads.errors import InputError

    of_wall_time = ("budget", "users")
    for name, value in options.items():
        if value is not None and (name in of_wall_time) == workload.is_virtual:
            kinds = (
                ("virtual time, where every plan is played to its end", "--seeds")
                if workload.is_virtual
                else ("wall time, where one run a rate goes on with new users", "--users")
            )
            raise InputError(f"--{name} {value}: the engines run in {kinds[0]}; see {kinds[1]}")


def _seconds(budget: str | None) -> float | None:
    """Returns the seconds of `20m`. Raises InputError."""
    from workloads.errors import InputError
    from workloads.units import parse_duration

    if budget is None:
        return None
    try:
        seconds = parse_duration(budget)
    except ValueError as error:
        raise InputError(f"--budget {error}") from None
    if not seconds:
        raise InputError(f"--budget must be above 0, got {budget}")
    return seconds


def _read(named: str, overrides: list[str] | None) -> WorkloadSource:
    """Returns the workload to search with; one that stands for a URL gets arrivals with a rate."""
    from workloads.attach import base_url_of

    given = overrides or []
    if base_url_of(named) is not None and not any(each.startswith("arrivals") for each in given):
        given = [f"arrivals={{process: poisson, rate: {FIRST_RATE:g}}}", *given]
    return _unswept(read_workload(named, given))


def _unswept(source: WorkloadSource) -> WorkloadSource:
    """Returns the workload without its matrix, refused where that sweeps more than a search does.

    Raises WorkloadError.
    """
    from workloads.errors import WorkloadError
    from workloads.matrix import read_matrix

    matrix = read_matrix(source)
    others = [] if matrix is None else [axis.key for axis in matrix.axes]
    others = [key for key in others if key not in ("arrivals.rate", "seed")]
    if others:
        raise WorkloadError(
            f"{source.path}: matrix sweeps {', '.join(others)}, and a capacity is of one setting; "
            "say --set matrix={} for the file's own"
        )
    return source.without_matrix()


def _directory(where: Where, source: WorkloadSource, workload: Workload) -> SweepDirectory:
    """Returns a new directory, or the one whose cells are used again."""
    from suite.playing.runner import new_directory
    from suite.sweep import directory as sweeps

    if where.resume is not None:
        return sweeps.resume(where.resume, kind="capacity", axes=(), cells=())
    path = new_directory(where.root, f"{workload.spec.name}-capacity")
    return sweeps.create(path, kind="capacity", source=source, spec=workload.spec, axes=())
