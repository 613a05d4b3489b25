"""What `fsbench run` with a matrix and `fsbench capacity` say in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.pages.fact import joined
from reports.pages.remarks import remark_pairs
from reports.text.terminal import console_for_output, print_warnings
from reports.words import units
from reports.words.wording import begun_small, shows
from suite.judging.catalogue.table import shown_in
from suite.judging.run_comparison import said_once
from suite.plurals import several
from suite.records.run_directory import Manifest
from suite.sweep.capacity_result import CapacityResult, EngineCapacity
from suite.sweep.manifest import SweepManifest
from suite.sweep.summary import column

NO_BREAK = "\N{NO-BREAK SPACE}"  # a number stays with its unit
MAX_ROWS = 60  # more are left to sweep.parquet


def show_sweep(manifest: SweepManifest, directory: Path, console: Console | None = None) -> None:
    """Prints what failed, then cells × engines, then where the rest is."""
    console = console or console_for_output()
    for cell in manifest.cells:
        if cell.status != "complete":
            note = f" {cell.status}: {cell.note or 'not run'}"
            console.print(Text.assemble(("! ", "yellow"), (cell.name, "bold"), note))
    if not manifest.rows:
        console.print("nothing was measured")
        return
    _print_remarks(directory, console)
    console.print(sweep_table(manifest))
    titles = (begun_small(row.label) for row in shown_in("sweep table"))
    console.print(Text(" · ".join(titles), style="dim"))
    num_cells = len({row["cell"] for row in manifest.rows})
    if num_cells > MAX_ROWS:
        console.print(f"the first {MAX_ROWS} of {num_cells} cells")
    path = directory / "sweep.parquet"
    console.print(Text.assemble("rows: ", (str(path), "bold")), soft_wrap=True)


def sweep_table(manifest: SweepManifest) -> Table:
    """Returns a row for each cell, a column for each engine."""
    engines = list(dict.fromkeys(row["engine"] for row in manifest.rows))
    found = {(row["cell"], row["engine"]): row for row in manifest.rows}
    cells = list(dict.fromkeys(row["cell"] for row in manifest.rows))
    table = Table(box=None, header_style="bold", pad_edge=False)
    for axis in manifest.axes:
        table.add_column(axis.label)
    for engine in engines:
        table.add_column(engine, justify="right")
    for cell in cells[:MAX_ROWS]:
        row = next(found[cell, engine] for engine in engines if (cell, engine) in found)
        values = (str(row[axis.key]) for axis in manifest.axes)
        table.add_row(*values, *(_numbers(found.get((cell, engine))) for engine in engines))
    return table


def _numbers(row: Mapping[str, Any] | None) -> Text:
    if row is None:
        return Text(units.MISSING)
    values = (shows(each)(row.get(column(each))) for each in shown_in("sweep table"))
    text = " · ".join(value.replace(" ", NO_BREAK) for value in values)
    is_sound = row["status"] == "complete" and not row["is_overloaded"]
    mark = "" if is_sound else " ↑" if row["is_overloaded"] else " !"
    return Text(text + mark, style="" if is_sound else "yellow")


def _print_remarks(directory: Path, console: Console) -> None:
    """Prints what of the engines is simulated, paced or emulated, as the runs' manifests say."""
    manifests = [
        Manifest.read(path.parent) for path in sorted(directory.glob("cells/*/manifest.json"))
    ]
    engines = dict.fromkeys(name for each in manifests for name in each.engines)
    said = dict.fromkeys(pair for each in manifests for pair in remark_pairs(each.remarks))
    once = said_once(said).items()
    print_warnings([(joined(names, engines), text) for text, names in once], console)


def show_capacity(result: CapacityResult, path: Path, console: Console | None = None) -> None:
    """Prints engines with the rate each carries."""
    console = console or console_for_output()
    played = (  # in wall time a rate goes on until it is told, whatever `count` says
        ""
        if result.is_of_wall_time
        else f"; {several(result.num_conversations, 'conversation')}, "
        f"{several(len(result.engines[0].seeds), 'seed')}"
    )
    console.print(
        f"highest arrival rate with {units.percent(result.target_ratio)} of the users within SLO"
        f"{played}",
        highlight=False,
    )
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("engine")
    titles = ["conversations/s", "95 % interval"]
    if result.baseline is not None:
        titles += [f"× {result.baseline}", "95 % interval"]
    for title in titles:
        table.add_column(title, justify="right")
    for engine in result.engines:
        table.add_row(*_capacity_cells(engine, has_baseline=result.baseline is not None))
    _print_remarks(path.parent, console)
    console.print(table)
    for engine in result.engines:
        if engine.note is not None:
            note = f" {engine.note}"
            console.print(Text.assemble(("! ", "yellow"), (engine.engine, "bold"), note))
    console.print(Text.assemble("result: ", (str(path), "bold")), soft_wrap=True)


def _capacity_cells(engine: EngineCapacity, *, has_baseline: bool) -> list[str]:
    cells = [engine.engine, _number(engine.rate), _interval(engine.interval)]
    if has_baseline:
        cells += [units.times(engine.ratio), _interval(engine.ratio_interval)]
    return cells


def _number(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.3g}"


def _interval(ends: tuple[float, float] | None) -> str:
    return units.MISSING if ends is None else f"{ends[0]:.3g} – {ends[1]:.3g}"
