"""report.html as a file: what stands in it, and what a broken run shows."""

from __future__ import annotations

import base64
import gzip
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from reports.pages.run import write_report
from reports.words.glossary import GLOSSARY
from suite.judging.metrics_file import write_metrics
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, SLOW, make_manifest, make_plan, write_run


class Page(HTMLParser):
    """Text, ids, addresses and the figures' JSON of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.figures: dict[str, dict] = {}
        self.text = ""
        self.help_targets: list[str] = []
        self._packed: str | None = None
        self._is_code = False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if "id" in values:
            self.ids.append(values["id"])
        if "popovertarget" in values:
            self.help_targets.append(values["popovertarget"])
        self.addresses += [values[name] for name in ("src", "href", "action") if name in values]
        self._packed = values.get("id") if values.get("type") == "application/gzip" else None
        self._is_code = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._is_code, self._packed = False, None

    def handle_data(self, data):
        if self._packed == "figures":
            self.figures = json.loads(gzip.decompress(base64.b64decode(data)))
        elif not self._is_code:
            self.text += data


def page_of(run):
    return Page(write_report(run).read_text())


@pytest.fixture(scope="module")
def two_engines(tmp_path_factory):
    run = write_run(
        tmp_path_factory.mktemp("run"),
        {"fastswitch": FAST, "vllm-0.3": replace(SLOW, fail_ratio=0.05, lost_ratio=0.05)},
        gates=("ttft.p99 <= 1.5s", "slo.users_within_slo_ratio >= 0.1"),
        baseline="vllm-0.3",
    )
    return run, page_of(run)


def test_the_page_asks_for_nothing_from_outside(two_engines):
    _, page = two_engines
    assert page.addresses == ["data:,"]


def test_every_figure_has_its_place_and_its_data(two_engines):
    _, page = two_engines
    assert len(page.figures) == 27
    for name, figure in page.figures.items():
        assert page.ids.count(name) == 1
        assert any("x" in trace for trace in figure["data"]), name


def test_every_question_mark_has_its_answer(two_engines):
    _, page = two_engines
    assert set(page.help_targets) <= set(page.ids)
    assert {f"term-{term}" for term in GLOSSARY} <= set(page.ids)


def test_the_first_screen_says_who_kept_how_many_users(two_engines):
    run, page = two_engines
    metrics = json.loads((run / "metrics.json").read_text())
    assert "Users kept within their SLO: fastswitch 82.5\u00a0%" in page.text
    assert metrics["engines"]["fastswitch"]["slo"]["users_within_slo_ratio"] == 0.825
    assert "turns failed; they miss their SLO" in page.text
    assert "planned turns left no record" in page.text


def test_the_plan_and_the_settings_stand_in_the_page(two_engines):
    run, page = two_engines
    manifest = Manifest.read(run)
    assert manifest.plan_digest in page.text
    assert "kv_tokens: 8192" in page.text
    assert "Example CPU" in page.text


def test_the_ecdf_says_how_it_was_thinned(two_engines):
    _, page = two_engines
    assert re.search(r"Drawn from up to [\d,]+ samples by at most \d+ of them per line", page.text)


def test_slo_lines_stand_at_the_slo(two_engines):
    _, page = two_engines
    figure = page.figures["ecdf-tbt_s-interactive"]
    assert [shape["x0"] for shape in figure["layout"]["shapes"]] == [0.2]


def test_names_from_the_workload_can_not_break_out_of_the_page(tmp_path):
    evil = "</script><b>x"
    page = page_of(write_run(tmp_path, {"a&b": FAST}, repeats=1))
    assert "a&b" in page.text
    plan = replace(make_plan(num_conversations=3), name=evil)
    page = page_of(write_run(tmp_path / "evil", {"mine": FAST}, plan=plan, repeats=1))
    assert evil in page.text
    assert len(page.figures) > 5


def test_an_empty_run_gives_a_page_that_says_so(tmp_path):
    plan = make_plan(num_conversations=3)
    plan.write(tmp_path / "plan.parquet")
    make_manifest(plan, ["mine", "other"], [], gates=("ttft.p99 <= 1s",)).write(tmp_path)
    page = page_of(tmp_path)
    assert "Nothing was measured." in page.text
    assert "the engine was never started: nothing was measured" in page.text
    assert "INCONCLUSIVE" in page.text
    assert page.figures == {}


def test_a_run_in_which_every_turn_failed_gives_a_page(tmp_path):
    page = page_of(write_run(tmp_path, {"mine": replace(FAST, fail_ratio=1.0)}, repeats=1))
    assert "mine 0 %" in page.text
    assert "timeline-mine" in page.figures


def test_an_engine_without_a_step_log_has_no_kv_figure_and_a_reason(tmp_path):
    page = page_of(write_run(tmp_path, {"mine": replace(FAST, has_step_log=False)}, repeats=1))
    assert "the engine gives no step log" in page.text
    assert "kv-mine" not in page.figures


def test_an_invalid_driver_is_said_beside_the_verdict(tmp_path):
    run = write_run(tmp_path, {"mine": FAST}, repeats=1)
    manifest = Manifest.read(run)
    driver = manifest.trials[0].driver.model_copy(
        update={"is_valid": False, "warnings": ["P99 lag 80 ms; use more workers"]}
    )
    trial = manifest.trials[0].model_copy(update={"driver": driver})
    manifest.model_copy(update={"trials": [trial]}).write(run)
    page = page_of(run)
    assert "the load driver was out of its bounds" in page.text
    assert "repeat 1, driver: P99 lag 80 ms; use more workers" in page.text


def test_the_report_shows_the_metrics_file_that_lies_there(tmp_path):
    run = write_run(tmp_path, {"mine": FAST}, repeats=1)
    metrics = write_metrics(run)
    metrics["engines"]["mine"]["warnings"] = ["said by the file"]
    (run / "metrics.json").write_text(json.dumps(metrics))
    assert "said by the file" in page_of(run).text
