"""What the commands say in a terminal: the worst news first, one table, where the report is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.pages import first_screen
from reports.pages.references import reference_line
from reports.pages.validity import recorded_warnings, warnings
from reports.words import units
from reports.words.lengths import prompt_lengths_text
from reports.words.numbers import interval_at, value_at
from reports.words.unwhole_turns import unwhole_turns
from reports.words.wording import (
    begun_small,
    compared_rows,
    comparison_notes,
    entry_name,
    gate_name,
    gate_text,
    shows,
    times_interval_text,
    value_text,
    worst_first,
)
from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import shown_in
from suite.plurals import several
from workloads.plan import Plan
from workloads.plan_summary import PlanSummary, summarise

if TYPE_CHECKING:
    from suite.driver.calibrate import Calibration  # brings the whole driver with it

Json = Mapping[str, Any]
_STYLE = {"fail": "bold red", "inconclusive": "yellow", "pass": "green"}
_VERDICT_STYLE = {"worse": "bold red", "better": "green"}
PIPED_COLUMNS = 200  # of a table that goes to no terminal: nothing in it needs more


def console_for_output() -> Console:
    """Returns a console as wide as the terminal; where there is none, as wide as the tables are,
    for a file or a pipe has no edge to wrap at."""
    console = Console()
    return console if console.is_terminal else Console(width=PIPED_COLUMNS)


def show_summary(metrics: Json, report: Path | None, console: Console | None = None) -> None:
    """Prints the end of a run, worst news first: failed gates, what limits trust, the engines, the
    other gates, the report's path."""
    console = console or console_for_output()
    gates = worst_first(metrics["gates"])
    _print_gates([each for each in gates if each["outcome"] == "fail"], console)
    print_warnings(warnings(metrics), console)
    console.print(engine_table(metrics))
    for sentence in first_screen.verdict(metrics).contrast:
        console.print(Text(sentence), soft_wrap=True)
    for name, engine in metrics["engines"].items():
        if engine["version"] is not None:  # not this project's own
            line = Text.assemble((name, "bold"), f" is {engine['version']}")
            console.print(line, soft_wrap=True)
        if (said := prompt_lengths_text(engine.get("prompt_lengths"))) is not None:
            console.print(Text.assemble((name, "bold"), f" {said}"), soft_wrap=True)
    _print_references(metrics, console)
    _print_gates([each for each in gates if each["outcome"] != "fail"], console)
    if report is not None:
        console.print(Text.assemble("report: ", (str(report), "bold")), soft_wrap=True)


def show_gates(metrics: Json, console: Console | None = None) -> None:
    """Prints what limits trust, then one line a verdict, failures first."""
    console = console or console_for_output()
    print_warnings(recorded_warnings(metrics), console)
    _print_references(metrics, console)
    _print_gates(worst_first(metrics["gates"]), console)


def print_warnings(said: Iterable[tuple[str, str]], console: Console) -> None:
    """Prints a line for each (engines, text) pair."""
    for engines, text in said:
        line = Text.assemble(("! ", "yellow"), (engines, "bold"), f" {text}")
        console.print(line, soft_wrap=True)


def _print_references(found: Json, console: Console) -> None:
    for cited in found.get("references", []):  # a file of before has none
        console.print(Text(reference_line(cited), style="dim"), soft_wrap=True)


def _print_gates(gates: Sequence[Json], console: Console) -> None:
    for gate in gates:
        verdict = (f"{gate['outcome'].upper():<13}", _STYLE[gate["outcome"]])
        line = Text.assemble(verdict, f"{gate_name(gate)}, {gate_text(gate)}")
        console.print(line, soft_wrap=True)


def show_comparison(
    comparison: Json, console: Console | None = None, *, has_all: bool = False
) -> None:
    """Prints a table for each engine and what it is held against, what got worse first."""
    console = console or console_for_output()
    base_of = {each["label"]: each["baseline"] for each in comparison["sides"]}
    for text in comparison["warnings"]:
        console.print(Text.assemble(("! ", "yellow"), text), soft_wrap=True)
    for label, entries in comparison["comparisons"].items():
        console.print(Text.assemble((label, "bold"), f" against {base_of[label]}"), soft_wrap=True)
        table = _plain_table("", "baseline", "this", "ratio", "95 % interval", "")
        for each in compared_rows(entries, has_all=has_all):
            table.add_row(
                Text(entry_name(each)),  # `[CLASS]` is no markup
                value_text(each["metric"], each["baseline"]),
                value_text(each["metric"], each["value"]),
                units.times(each["ratio"]),
                times_interval_text(each["interval"]),
                Text(each["verdict"], style=_VERDICT_STYLE.get(each["verdict"], "")),
            )
        console.print(table)
    _print_references(comparison, console)
    for note in comparison_notes(comparison):
        console.print(note, soft_wrap=True)


def engine_table(metrics: Json) -> Table:
    """Returns the engines as columns, a line a metric with its 95 % interval."""
    engines = metrics["engines"]
    table = _plain_table("", *engines)
    for row in shown_in("terminal"):
        for title, read in _lines(row):
            table.add_row(title, *(read(row, engine) for engine in engines.values()))
    return table


def _with_interval(row: Row, engine: Json) -> str:
    show, value = shows(row), value_at(engine, row.path)
    ends = interval_at(engine, row.path)
    if value is None or ends is None:
        return show(value)
    return f"{show(value)} ({units.interval(ends, show)})"


def _num_users(row: Row, engine: Json) -> str:
    slo = engine["slo"]
    return f"{slo['num_users_within_slo']:,} of {slo['num_users']:,}" if slo else units.MISSING


def _uncapped(row: Row, engine: Json) -> str:
    return units.percent((engine["slo"] or {}).get(first_screen.UNCAPPED))


def _extremes(row: Row, engine: Json) -> str:
    fairness = engine["fairness"] or {}
    gap, wait = (units.duration(fairness.get(f"longest_{each}_s")) for each in ("gap", "wait"))
    return f"{gap}, {wait}"


def _worst_user(row: Row, engine: Json) -> str:
    fairness = engine["fairness"]
    if fairness is None:
        return units.MISSING
    kept = units.percent(fairness["worst_user_attainment_ratio"])
    return f"{kept} of turns, {fairness['worst_user_id']}"


def _failed_or_lost(row: Row, engine: Json) -> Text:
    counts = engine["counts"]
    is_bad = counts["failed"] or counts["lost"]
    return Text(unwhole_turns(engine), style="bold red" if is_bad else "")


Read = Callable[[Row, Json], str | Text]
# Metrics that say more than value and interval: for each line its title and what it says.
_LINES: dict[str, tuple[tuple[str, Read], ...]] = {
    "slo.users_within_slo_ratio": (
        ("users within SLO", _with_interval),
        ("", _num_users),
        ("were gaps not capped", _uncapped),
        ("longest gap, wait", _extremes),
        ("worst user", _worst_user),
    ),
    "counts.failed": (("turns", _failed_or_lost),),
}


def _lines(row: Row) -> tuple[tuple[str, Read], ...]:
    """Returns (title, what it says) of each line of a metric."""
    return _LINES.get(row.name, ((begun_small(row.label), _with_interval),))


def show_plan(plan: Plan, console: Console | None = None) -> None:
    """Prints what a plan will ask of an engine, class by class, and what was cut on the way to
    it."""
    console = console or console_for_output()
    summary = summarise(plan)
    console.print(
        Text.assemble((plan.name, "bold"), f", seed {plan.seed}, plan {summary.digest[:12]}")
    )
    console.print(f"{_how_many(summary)}; {_when(plan, summary)}", highlight=False)
    console.print(_class_table(plan))
    console.print(_spread_table(summary))
    for note in summary.notes:
        console.print(Text(f"! {note.count:,} × {note.what}", style="yellow"), soft_wrap=True)


def _how_many(summary: PlanSummary) -> str:
    return (
        f"{several(summary.num_conversations, 'conversation')} of "
        f"{several(summary.num_users, 'user')}, {several(summary.num_turns, 'turn')}"
    )


def _when(plan: Plan, summary: PlanSummary) -> str:
    if plan.closed_concurrency is not None:
        at_a_time = f"{several(plan.closed_concurrency, 'conversation')} at a time"
        if plan.closed_duration_s is None:
            return at_a_time
        return f"{at_a_time}, for {units.duration(plan.closed_duration_s)}: the above at most"
    return f"conversations start within {units.duration(summary.last_start_at_s)}"


def _class_table(plan: Plan) -> Table:
    table = _plain_table(
        "class", "users", "conversations", "turns", "TTFT SLO", "TBT SLO", "max gap"
    )
    for user_class in plan.user_classes:
        mine = [each for each in plan.conversations if each.user_class == user_class.name]
        table.add_row(
            user_class.name,
            units.count(len({each.user_id for each in mine})),
            units.count(len(mine)),
            units.count(sum(len(each.turns) for each in mine)),
            units.duration(user_class.slo.ttft_s),
            units.duration(user_class.slo.tbt_s),
            units.duration(user_class.slo.max_gap_s),
        )
    return table


def _spread_table(summary: PlanSummary) -> Table:
    table = _plain_table("", "mean", "P50", "P90", "P99", "max", "in all")
    for title, spread, total in (
        ("turns a conversation", summary.turns_per_conversation, summary.num_turns),
        ("new prompt tokens", summary.new_prompt_tokens, summary.num_new_prompt_tokens),
        ("output tokens", summary.output_tokens, summary.num_output_tokens),
        ("context tokens", summary.context_tokens, None),
        ("history sent again", None, summary.num_history_tokens),
    ):
        counts = [] if spread is None else [spread.p50, spread.p90, spread.p99, spread.maximum]
        cells = [f"{spread.mean:,.1f}"] if spread is not None else [""] * 5
        cells += [units.count(each) for each in counts]
        table.add_row(title, *cells, units.count(total) if total is not None else "")
    return table


def _plain_table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    # Folded where the terminal is narrow: an id that ends in "…" is another one's just as well.
    table.add_column(first, overflow="fold")
    for title in others:
        table.add_column(title, justify="right", overflow="fold")
    return table


def show_calibration(found: Calibration, console: Console | None = None) -> None:
    """Prints how far the driver's stamps are from the truth on this machine."""
    console = console or console_for_output()
    tails = (found.error_p50_s, found.error_p99_s, found.error_p999_s, found.error_max_s)
    console.print(
        f"{found.num_streams:,} streams, {units.count(found.tokens_per_s)} tokens/s in all, "
        f"{found.num_tokens:,} tokens stamped by: {found.time_source}"
    )
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_row("error P50 P99 P99.9 max", "  ".join(units.duration(each) for each in tails))
    table.add_row("lag of sending, the longest", units.duration(found.lag_max_s))
    table.add_row("reads that held several tokens", units.percent(found.coalesced_ratio))
    table.add_row("busiest driver process", f"{units.percent(found.cpu_ratio)} of a core")
    console.print(table)
