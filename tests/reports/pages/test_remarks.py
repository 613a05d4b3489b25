"""What is simulated, paced or emulated is said wherever its numbers are shown."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from reports.pages.comparison import write_comparison
from reports.pages.run import write_report
from reports.pages.sweep import write_sweep
from reports.text.markdown import comparison_markdown
from reports.text.sweep_tables import show_sweep
from reports.text.terminal import show_comparison, show_gates, show_summary
from suite.cli import app
from suite.judging.judged_run import judge_run
from suite.judging.metrics_file import write_metrics
from suite.judging.run_comparison import compare_runs
from suite.records.run_directory import Manifest
from tests.reports.pages.test_html import Page
from tests.reports.pages.test_sweep_page import manifest_of, runs_of
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run

PACED = "paced: tokens are real, durations are a modelled A10's"
OTHER = "the link between device and host is emulated: 1 GB/s"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return remarked(
        write_run(
            tmp_path_factory.mktemp("run"),
            {"base": SLOW, "cand": FAST},
            plan=make_plan(num_conversations=6),
            repeats=1,
            baseline="base",
            gates=("ttft.p50 <= 10s",),
        ),
        {"base": [PACED], "cand": [PACED, OTHER]},
    )


def remarked(run: Path, remarks: dict[str, list[str]]) -> Path:
    Manifest.read(run).model_copy(update={"remarks": remarks}).write(run)
    write_metrics(run)
    return run


def first_screen(html: str) -> str:
    """The text above the first section with figures or numbers, in one line."""
    text = re.sub(r"\s+", " ", Page(html).text)
    return re.split("P99 TTFT|Candidate against baseline|What is bought", text)[0]


def printed(show: Callable[[Console], object]) -> str:
    text = io.StringIO()
    show(Console(file=text, width=200))
    return text.getvalue()


def test_a_runs_page_says_it_on_its_first_screen_and_once(run: Path) -> None:
    html = write_report(run).read_text()
    said = first_screen(html)
    assert "paced base, cand: tokens are real, durations are a modelled A10's" in said
    assert "the link between device and host is emulated cand: 1 GB/s" in said
    assert Page(html).text.count("durations are a modelled A10's") == 1


def test_a_comparison_says_it_of_its_sides(run: Path, tmp_path: Path) -> None:
    found = compare_runs([str(run)], is_unpaired=False)
    html = write_comparison(found, tmp_path / "c.html").read_text()
    said = first_screen(html)
    assert "durations are a modelled A10's" in said
    assert "cand: 1 GB/s" in said
    assert Page(html).text.count("durations are a modelled A10's") == 1
    assert PACED in printed(lambda console: show_comparison(found, console))
    assert PACED in comparison_markdown(found)


def test_a_comparison_of_before_has_no_remarks_and_gives_a_page(run: Path, tmp_path: Path) -> None:
    found = compare_runs([str(run)], is_unpaired=False)
    sides = [{k: v for k, v in each.items() if k != "remarks"} for each in found["sides"]]
    page = Page(write_comparison({**found, "sides": sides}, tmp_path / "c.html").read_text())
    assert PACED in page.text  # among the warnings


def test_the_terminal_says_it_after_a_run_and_with_its_gates(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert f"base, cand {PACED}" in printed(lambda console: show_summary(metrics, None, console))
    judged = judge_run(run, baseline=None, rules=None, is_unpaired=False)
    assert f"base, cand {PACED}" in printed(lambda console: show_gates(judged, console))
    markdown = CliRunner().invoke(app, ["gate", str(run), "--format", "markdown"])
    assert f"base, cand: {PACED}" in markdown.output


def test_a_sweep_says_it_in_the_terminal_and_on_its_first_screen(run: Path, tmp_path: Path) -> None:
    manifest = manifest_of({"arrivals.rate": [1.0, 2.0]})
    page = write_sweep(manifest, runs_of(manifest, run), tmp_path / "s.html")
    assert "paced base, cand: tokens are real" in first_screen(page.read_text())
    cell = tmp_path / "cells" / "0"
    cell.mkdir(parents=True)
    (cell / "manifest.json").write_text((run / "manifest.json").read_text())
    numbers = {"users_within_slo_ratio": 1.0, "ttft_p99_s": 1.0, "tbt_p99_s": 1.0}
    row = {"cell": "0", "engine": "base", "arrivals.rate": 1.0, "status": "complete"}
    swept = manifest.model_copy(update={"rows": [{**row, **numbers, "is_overloaded": False}]})
    text = printed(lambda console: show_sweep(swept, tmp_path, console))
    assert f"base, cand {PACED}" in text


def test_virtual_time_is_said_of_a_run_whose_manifest_has_no_remarks(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"a": FAST}, plan=make_plan(num_conversations=6), repeats=1)
    manifest = Manifest.read(run)
    engines = {"a": {"kind": "simulated", "kv_tokens": 8192}}
    manifest.model_copy(update={"engines": engines}).write(run)
    assert "simulated, virtual time a: the numbers are a model's, not a machine's" in first_screen(
        write_report(run).read_text()
    )
