"""What the commands say in a terminal: the worst news first, one table, where the report is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports import units
from reports.page import gate_value, warnings
from workloads.plan import Plan

if TYPE_CHECKING:
    from suite.driver.calibrate import Calibration  # brings the whole driver with it

Json = Mapping[str, Any]
_STYLE = {"fail": "bold red", "inconclusive": "yellow", "pass": "green"}  # worst first


def show_summary(metrics: Json, report: Path | None, console: Console | None = None) -> None:
    """The end of a run: what limits trust in it, the engines, the gates, the report's path."""
    console = console or Console()
    for engine, text in warnings(metrics):
        console.print(Text.assemble(("! ", "yellow"), (engine, "bold"), f" {text}"))
    console.print(engine_table(metrics))
    show_gates(metrics, console)
    if report is not None:
        console.print(Text.assemble("report: ", (str(report), "bold")), soft_wrap=True)


def show_gates(metrics: Json, console: Console | None = None) -> None:
    """One line a verdict, failures first."""
    console = console or Console()
    order = list(_STYLE)
    for gate in sorted(metrics["gates"], key=lambda each: order.index(each["outcome"])):
        prefix = f"{gate['engine']}: "
        got = f"{prefix}{gate['gate'].removeprefix(prefix)}"
        got += f", got {gate_value(gate, gate['observed'])}"
        if gate["interval"]:
            got += f" (95 %: {units.duration_interval(gate['interval'])})"
        if gate["reason"]:
            got += f"; {gate['reason']}"
        verdict = (f"{gate['outcome'].upper():<13}", _STYLE[gate["outcome"]])
        console.print(Text.assemble(verdict, got), soft_wrap=True)


def engine_table(metrics: Json) -> Table:
    """Engines as columns, so that two or three fit into eighty characters."""
    engines = metrics["engines"]
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    for name in engines:
        table.add_column(name, justify="right")
    for title, read in _LINES:
        table.add_row(title, *(read(engine) for engine in engines.values()))
    return table


def _tail(key: str) -> Callable[[Json], str]:
    return lambda engine: "  ".join(
        f"{units.duration(engine[key][name]):>7}" for name in ("p50", "p99", "p999")
    )


def _within_slo(engine: Json) -> str:
    slo = engine["slo"]
    if slo is None:
        return units.MISSING
    number = f"{slo['num_users_within_slo']} of {slo['num_users']}"
    return f"{units.percent(slo['users_within_slo_ratio'])} ({number})"


def _failed_or_lost(engine: Json) -> Text:
    counts = engine["counts"]
    number = f"{counts['failed']} failed, {counts['lost']} lost"
    return Text(number, style="bold red" if counts["failed"] or counts["lost"] else "")


_LINES: tuple[tuple[str, Callable[[Json], str | Text]], ...] = (
    ("users within SLO", _within_slo),
    ("TTFT P50 P99 P99.9", _tail("ttft_s")),
    ("TBT P50 P99 P99.9", _tail("tbt_s")),
    ("output tokens/s", lambda each: units.count(each["throughput"]["output_tokens_per_s"])),
    (
        "preemptions",
        lambda each: units.count((each["context_switch"] or {}).get("num_preemptions")),
    ),
    ("turns", _failed_or_lost),
)


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """What a plan will ask of an engine, class by class; prompt and output in tokens."""
    console = console or Console()
    last_s = max((each.start_at_s for each in plan.conversations), default=0.0)
    console.print(
        Text.assemble((plan.name, "bold"), f", seed {plan.seed}, plan {plan.digest[:12]}")
    )
    arrivals = (
        f"conversations start within {units.duration(last_s)}"
        if plan.closed_concurrency is None
        else f"{plan.closed_concurrency} conversations at a time"
    )
    console.print(f"{plan.num_turns:,} turns in {len(plan.conversations):,}; {arrivals}")
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("class")
    for title in ("users", "convs", "turns", "prompt", "output", "TTFT SLO", "TBT SLO"):
        table.add_column(title, justify="right")
    for user_class in plan.user_classes:
        mine = [each for each in plan.conversations if each.user_class == user_class.name]
        turns = [turn for each in mine for turn in each.turns]
        slo = user_class.slo
        table.add_row(
            user_class.name,
            units.count(len({each.user_id for each in mine})),
            units.count(len(mine)),
            units.count(len(turns)),
            units.count(sum(turn.new_prompt_token_ids.size for turn in turns)),
            units.count(sum(turn.num_output_tokens for turn in turns)),
            units.duration(slo.ttft_s),
            units.duration(slo.tbt_s),
        )
    console.print(table)


def show_calibration(found: Calibration, console: Console | None = None) -> None:
    """How far the driver's stamps are from the truth on this machine."""
    console = console or Console()
    lag = units.duration(found.lag_p99_s)
    tails = (found.error_p50_s, found.error_p99_s, found.error_p999_s, found.error_max_s)
    console.print(
        f"{found.num_streams:,} streams, {units.count(found.tokens_per_s)} tokens/s in all, "
        f"{found.num_tokens:,} tokens stamped by: {found.time_source}"
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("error P50 P99 P99.9 max", "  ".join(units.duration(each) for each in tails))
    table.add_row("lag of sending, P99", lag)
    table.add_row("reads that held several tokens", units.percent(found.coalesced_ratio))
    table.add_row("busiest driver process", f"{units.percent(found.cpu_ratio)} of a core")
    console.print(table)
