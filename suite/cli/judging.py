"""Commands that judge runs: `compare`, `gate`, `baseline update`, `export`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from suite.cli.app import RunDirectory, app
from suite.cli.verdict import verdict, why_incomplete

baseline_app = typer.Typer(no_args_is_help=True, help="A stored baseline for `gate`.")
app.add_typer(baseline_app, name="baseline")


class CompareFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


class GateFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


Unpaired = Annotated[
    bool, typer.Option("--unpaired", help="Allow different plans; intervals are wider then.")
]
Out = Annotated[Path | None, typer.Option(dir_okay=False, help="Write it to this file instead.")]


@app.command()
def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="A [B…]", help="Runs, or RUN:ENGINE; A is the baseline.")
    ],
    unpaired: Unpaired = False,
    form: Annotated[CompareFormat, typer.Option("--format")] = CompareFormat.TEXT,
    out: Out = None,
    has_all: Annotated[
        bool, typer.Option("--all", help="Every metric, not only what differs.")
    ] = False,
) -> None:
    """Hold runs of the same plan against each other: ratios with intervals."""
    from reports.pages.comparison import write_comparison
    from reports.text.markdown import comparison_markdown
    from reports.text.terminal import show_comparison
    from suite.judging.run_comparison import compare_runs
    from workloads.errors import InputError

    if form is CompareFormat.HTML and out is None:
        raise InputError("--format html: needs --out FILE to write the page to")
    if form is CompareFormat.TEXT and out is not None:
        raise InputError(f"--out {out}: needs --format json, markdown or html")
    comparison = compare_runs(runs, is_unpaired=unpaired)
    match form:
        case CompareFormat.TEXT:
            show_comparison(comparison, has_all=has_all)
        case CompareFormat.JSON:
            _say(json.dumps(comparison, indent=1, allow_nan=False) + "\n", out)
        case CompareFormat.MARKDOWN:
            _say(comparison_markdown(comparison, has_all=has_all), out)
        case CompareFormat.HTML:
            assert out is not None
            typer.echo(f"comparison: {write_comparison(comparison, out)}")


@app.command()
def gate(
    directory: RunDirectory,
    baseline: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|FILE",
            help="What `baseline` means in a gate: another run (or RUN:ENGINE), or a stored "
            "baseline. Default: the workload's baseline engine.",
        ),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option(help="Gates from this YAML file instead of the workload's.")
    ] = None,
    unpaired: Unpaired = False,
    junit: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write JUnit XML to this file.")
    ] = None,
    form: Annotated[GateFormat, typer.Option("--format")] = GateFormat.TEXT,
    out: Out = None,
) -> None:
    """Judge a run by its gates; the exit code is the verdict."""
    from reports.text.ci import write_junit
    from reports.text.terminal import show_gates
    from suite.judging.judged_run import judge_run
    from workloads.errors import InputError

    if form is GateFormat.TEXT and out is not None:
        raise InputError(f"--out {out}: needs --format json or markdown")
    judged = judge_run(directory, baseline=baseline, rules=rules, is_unpaired=unpaired)
    gates, incomplete = judged["gates"], why_incomplete(judged, directory)
    match form:
        case GateFormat.TEXT:
            show_gates(judged)
        case GateFormat.JSON:
            _say(json.dumps(gates, indent=1, allow_nan=False) + "\n", out)
        case GateFormat.MARKDOWN:
            _say(_markdown(judged, incomplete), out)
    if junit is not None:
        write_junit(junit, gates, suite=f"fsbench.{judged['name']}", incomplete=incomplete)
    _tell_github(judged, incomplete, is_stdout_free=form is GateFormat.TEXT)
    if baseline is not None:
        _say_how_to_accept(gates, directory, baseline)
    raise typer.Exit(verdict(judged, directory))


def _markdown(judged: Mapping[str, Any], incomplete: str | None) -> str:
    from reports.text.markdown import gates_markdown
    from suite.judging.run_comparison import said_once

    said = [(name, text) for name, each in judged["engines"].items() for text in each["warnings"]]
    warnings = [f"{', '.join(names)}: {text}" for text, names in said_once(said).items()]
    return gates_markdown(
        judged["gates"],
        title=f"fsbench gate {judged['name']}",
        warnings=[incomplete, *warnings] if incomplete else warnings,
        references=judged["references"],
    )


def _tell_github(
    judged: Mapping[str, Any], incomplete: str | None, *, is_stdout_free: bool
) -> None:
    """Writes the job's summary and annotations in GitHub Actions, which reads both streams."""
    from reports.text.ci import github_annotations

    if summary := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(_markdown(judged, incomplete))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for line in github_annotations(judged["gates"], incomplete=incomplete):
            typer.echo(line, err=not is_stdout_free)


def _say_how_to_accept(gates: list[dict[str, Any]], directory: Path, baseline: str) -> None:
    """Tells how to renew a stored baseline that was missed."""
    has_failed = any(gate["outcome"] == "fail" for gate in gates)
    if has_failed and Path(baseline).is_file():
        typer.echo(
            "fsbench: if this change of the numbers is meant, write the baseline anew: "
            f"fsbench baseline update {quote(str(directory))} --out {quote(baseline)}",
            err=True,
        )


@baseline_app.command()
def update(
    directory: RunDirectory,
    out: Annotated[Path, typer.Option(help="The file to write; made to be committed.")],
) -> None:
    """Store a run's numbers and intervals as the baseline of later gates."""
    from suite.judging.metrics_file import measure_run
    from suite.judging.stored_baselines import write_baseline

    write_baseline(measure_run(directory), out)
    how = f"fsbench gate RUN --baseline {quote(str(out))}"
    typer.echo(f"baseline: {out}; gate a run against it: {how}")


@app.command()
def export(
    directory: RunDirectory,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The file to write.")],
    form: Annotated[
        str, typer.Option("--format", help="vllm-bench (JSON), csv (turns) or users-csv.")
    ] = "csv",
    engine: Annotated[
        str | None, typer.Option(help="Whose; may be left out where there is one.")
    ] = None,
    repeat: Annotated[int, typer.Option(min=1, help="Which repeat (vllm-bench).")] = 1,
) -> None:
    """Write a run in another tool's shape."""
    from suite.measuring.export import export_run

    export_run(directory, out, form=form, engine=engine, repeat=repeat)
    typer.echo(f"{form}: {out}")


def _say(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    typer.echo(str(out), err=True)
