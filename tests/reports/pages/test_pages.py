"""Pages other than a whole run's: broken runs, comparisons; and how large a page gets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from engines.facts import EngineFacts
from reports.pages.comparison import write_comparison
from reports.pages.cost import cost
from reports.pages.run import write_report
from suite.judging.metrics_file import write_metrics
from suite.records.run_directory import Manifest
from tests.reports.drawing.test_browser import comparison_of
from tests.reports.pages.test_html import Page, page_of
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run

PLAN = make_plan(num_conversations=12)


def run_of(folder: Path, *names: str, **changes: float) -> Path:
    engines = {name: replace(FAST, **changes) for name in names or ("mine",)}
    return write_run(folder, engines, plan=PLAN, repeats=1)


@pytest.mark.parametrize(
    ("log", "column", "figure"),
    [
        ("steps", "num_used_host_blocks", "kv-mine"),
        ("transfers", "num_copy_runs", "blocks-per-copy"),
        ("requests", "spans", "slow-request"),
    ],
)
def test_a_log_of_another_version_costs_its_figure_alone_and_is_named(
    tmp_path: Path, log: str, column: str, figure: str
) -> None:
    run = run_of(tmp_path)
    write_metrics(run)
    path = run / "mine" / "1" / f"{log}.parquet"
    pq.write_table(pq.read_table(path).drop_columns([column]), path)
    page = page_of(run)
    assert f"{log}.parquet has no column {column}" in page.text
    assert figure not in page.figures
    assert "timeline-mine" in page.figures


def test_an_engine_that_never_ran_stands_beside_one_that_did(tmp_path: Path) -> None:
    run = run_of(tmp_path, "ran", "missing")
    manifest = Manifest.read(run)
    trials = [each for each in manifest.trials if each.engine == "ran"]
    manifest.model_copy(update={"trials": trials}).write(run)
    page = page_of(run)
    assert "missing is missing" in page.text
    assert "Not valid" in page.text
    assert "timeline-ran" in page.figures
    assert "timeline-missing" not in page.figures


def test_a_killed_run_shows_what_it_kept_and_that_it_was_cut(tmp_path: Path) -> None:
    run = run_of(tmp_path, lost_ratio=0.5)
    manifest = Manifest.read(run)
    trial = manifest.trials[0].model_copy(update={"status": "interrupted", "note": "Ctrl-C"})
    manifest.model_copy(update={"trials": [trial]}).write(run)
    page = page_of(run)
    assert "mine was interrupted" in page.text
    assert "planned turns left no record" in page.text


def test_unequal_cost_is_said_on_the_first_screen(tmp_path: Path) -> None:
    run = run_of(tmp_path, "a", "b")
    manifest = Manifest.read(run)
    engines = {name: {"kind": "k", "kv_tokens": size} for name, size in (("a", 8192), ("b", 4096))}
    manifest.model_copy(update={"engines": engines}).write(run)
    text = page_of(run).text
    first_screen = text[: text.index("Users within SLO")]
    assert "Unequal cost" in first_screen
    assert "KV cache tokens 8,192 (a), 4,096 (b)" in first_screen


def test_what_a_server_that_was_running_already_costs_is_not_known(tmp_path: Path) -> None:
    manifest = Manifest.read(run_of(tmp_path, "a", "b"))
    facts = {"a": EngineFacts(is_attached=True), "b": EngineFacts()}
    fact = cost(manifest.model_copy(update={"facts": facts}))
    assert fact.outcome == "inconclusive"
    assert fact.text.startswith("not known: a was attached to, not started")


def test_what_one_kind_has_no_setting_for_is_not_called_unequal(tmp_path: Path) -> None:
    run = run_of(tmp_path, "a", "b")
    manifest = Manifest.read(run)
    engines = {
        "a": {"kind": "fastswitch", "kv_tokens": 8192, "swap_tokens": 4096, "pace": None},
        "b": {"kind": "vllm", "kv_tokens": 8192, "kv_offload_gib": None},
    }
    fact = cost(manifest.model_copy(update={"engines": engines}))
    assert (fact.outcome, fact.label) == ("inconclusive", "Cost")
    assert fact.text == (
        "KV cache tokens 8,192; not a setting of every kind: host swap tokens 4,096 (a)"
    )


def cited(*metrics: str, **band: float) -> dict[str, object]:
    return {
        "source": "A paper, their GPU",
        "ours": "this re-implementation",
        "engine": "new",
        "baseline": "old",
        "metrics": list(metrics),
        "times_better": band,
        "note": "Other work than this.",
    }


def citing_run(folder: Path) -> Path:
    run = write_run(folder, {"old": SLOW, "new": FAST}, plan=PLAN, repeats=1, baseline="old")
    manifest = Manifest.read(run)
    references = [cited("ttft.p50", low=1.4, high=5.8), cited("tbt.p50", high=11.2)]
    workload = {**manifest.workload, "references": references}
    engines = {name: {"kind": "simulated", "kv_tokens": 8192} for name in manifest.engines}
    manifest.model_copy(update={"workload": workload, "engines": engines}).write(run)
    return run


def test_a_published_band_stands_beside_the_runs_own_factor(tmp_path: Path) -> None:
    run = citing_run(tmp_path)
    metrics = write_metrics(run)
    first, second = metrics["references"]
    assert first["published"] == [1.4, 5.8] and second["published"] == [None, 11.2]
    assert first["times_better"] == pytest.approx(first["baseline_value"] / first["value"])
    ratio = next(e for e in metrics["comparisons"]["new"] if e["metric"] == "ttft.p50")
    assert first["interval"] == pytest.approx([1 / end for end in reversed(ratio["interval"])])
    text = page_of(run).text
    assert "published (A paper, their GPU)" in text
    assert "this re-implementation, simulated" in text
    assert "1.4× to 5.8×" in text and "up to 11.2×" in text
    assert "It is no reproduction" in text and "Other work than this." in text


def test_nothing_is_called_better_that_the_intervals_do_not_tell_apart(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"base": FAST, "twin": FAST}, plan=PLAN, repeats=1, baseline="base")
    html = write_report(run).read_text()
    assert "cannot be told apart from base by this run" in html or "kept as many users as" in html
    users_row = html.split("<h2>Engines side by side")[1].split("Turns within SLO")[0]
    assert 'class="better"' not in users_row


def test_a_comparison_draws_each_candidate_and_lists_every_number(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"base": SLOW, "cand": FAST}, plan=PLAN, repeats=1, baseline="base")
    metrics = write_metrics(run)
    page = Page(write_comparison(comparison_of(metrics), tmp_path / "c.html").read_text())
    assert list(page.figures) == ["ratios-cand"]
    assert "cand against base" in page.text
    entries = metrics["comparisons"]["cand"]
    assert all(each["metric"] in page.text for each in entries)
    drawn = page.figures["ratios-cand"]
    names = [each["text"] for each in drawn["layout"]["annotations"]]
    assert names[0] == "slo.users_within_slo_ratio"


def test_what_all_labels_begin_with_is_not_repeated(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"base": SLOW, "cand": FAST}, plan=PLAN, repeats=1, baseline="base")
    found = comparison_of(write_metrics(run))
    sides = [
        {
            **each,
            "label": f"runs/ci:{each['label']}",
            "baseline": each["baseline"] and f"runs/ci:{each['baseline']}",
        }
        for each in found["sides"]
    ]
    entries = {f"runs/ci:{label}": each for label, each in found["comparisons"].items()}
    long = {**found, "sides": sides, "comparisons": entries}
    page = Page(write_comparison(long, tmp_path / "c.html").read_text())
    assert "cand against base" in page.text
    assert "runs/ci:" not in page.text


def test_each_engine_of_two_runs_is_named_with_its_own_baseline(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"base": SLOW, "cand": FAST}, plan=PLAN, repeats=1, baseline="base")
    found = comparison_of(write_metrics(run))
    pairs = {"new:a": "old:a", "new:b": "old:b"}
    entries = next(iter(found["comparisons"].values()))
    side = {"plan_digest": "0"}
    two = {
        **found,
        "sides": [
            *({**side, "label": base, "baseline": None} for base in pairs.values()),
            *({**side, "label": name, "baseline": base} for name, base in pairs.items()),
        ],
        "comparisons": dict.fromkeys(pairs, entries),
    }
    page = Page(write_comparison(two, tmp_path / "c.html").read_text())
    for name, base in pairs.items():
        assert f"{name} against {base}" in page.text


def test_many_engines_and_turns_stay_below_the_limit(tmp_path: Path) -> None:
    engines = {f"engine-{index}": FAST for index in range(4)}
    run = write_run(tmp_path, engines, plan=make_plan(num_conversations=40), repeats=1)
    assert write_report(run).stat().st_size < 3e6
