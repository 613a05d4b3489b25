"""Verdicts and comparisons as other programs read them: Markdown, JUnit XML, annotations, and the
published figures that stand beside them."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from reports.text.ci import github_annotations, write_junit
from reports.text.markdown import gates_markdown
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run
from tests.suite.judging.test_judging import call, comparison, failed

NASTY = 'took 5 % longer, said:\n<h1>"it & I" | 1::2</h1>'
CITED = {
    "source": "a paper",
    "metrics": ["ttft.p50"],
    "times_better": {"low": 1.4, "high": 5.8},
    "engine": "fast",
    "ours": "made up",
}


def verdict_of(outcome: str, **changes: object) -> dict[str, object]:
    return {
        "gate": "fairness.slowdown_p99[a|b] <= 1.05 * baseline",
        "engine": "mine",
        "metric": "fairness.slowdown_p99",
        "user_class": "a|b",
        "operator": "<=",
        "observed": 1.2,
        "bound": 1.05,
        "interval": [1.1, None],
        "num_samples": 500,
        "unit": "",
        "outcome": outcome,
        "reason": NASTY,
        "baseline": "main.json:mine",
        "is_exact": False,
        "more_conversations": None,
        "more_repeats": None,
        **changes,
    }


OUTCOMES = ("fail", "inconclusive", "pass")


def test_junit_counts_what_it_holds_and_says_each_text_unharmed(tmp_path: Path) -> None:
    """By the schema that Jenkins, GitLab and pytest share: what must be in which element."""
    path = tmp_path / "deep" / "gates.xml"
    write_junit(path, [verdict_of(each) for each in OUTCOMES], suite="fsbench.x", incomplete=NASTY)
    suite = ElementTree.parse(path).getroot()
    assert suite.tag == "testsuite"
    assert {key: suite.get(key) for key in ("name", "tests", "failures", "errors", "skipped")} == {
        "name": "fsbench.x",
        "tests": "4",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
    }
    assert [case.tag for case in suite] == ["testcase"] * 4
    for case in suite:
        assert case.get("name") and case.get("classname") and float(case.get("time", "")) == 0
    assert [case[0].tag for case in suite] == ["error", "failure", "skipped", "system-out"]
    error, failure, _, passed = (case[0] for case in suite)
    assert error.text == NASTY and (error.get("message") or "").split() == NASTY.split()
    assert failure.get("type") and NASTY in (failure.text or "") and NASTY in (passed.text or "")


def test_annotations_keep_to_one_line_and_to_the_workflow_commands_grammar() -> None:
    found = github_annotations([verdict_of(each) for each in OUTCOMES], incomplete="a\r\nb")
    assert found[0] == "::error title=fsbench::a%0D%0Ab"
    assert [line.split(" ")[0] for line in found] == ["::error", "::error", "::warning"]
    for line in found[1:]:
        assert "\n" not in line
        properties, message = line.split(" title=")[1].split("::", 1)
        assert not set(properties) & {":", ","}
        assert "took 5 %25 longer, said:%0A" in message


def test_markdown_keeps_its_rows_whatever_a_text_holds() -> None:
    text = gates_markdown([verdict_of("fail")], title="x", warnings=[NASTY, "plain"])
    [row] = [line for line in text.splitlines() if "FAIL" in line and line.startswith("| ")]
    assert row.replace("\\|", "").count("|") == 7  # six cells
    assert "| <= 1.05× from main.json:mine |" in row
    assert "<h1>" not in text.replace("\\<h1>", "") and "\n* plain\n" in text


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cites a paper on fast against slow."""
    path = tmp_path_factory.mktemp("cited") / "run"
    plan = make_plan(num_conversations=20)
    gates = ("ttft.p50 <= 1.5s",)
    engines = {"fast": FAST, "slow": SLOW}
    write_run(path, engines, plan=plan, repeats=1, baseline="slow", gates=gates)
    manifest = Manifest.read(path)
    workload = {**manifest.workload, "references": [CITED]}
    manifest.model_copy(update={"workload": workload}).write(path)
    return path


LINE = "P50 TTFT of fast against slow: published (a paper) 1.4× to 5.8× better; made up "


def test_published_figures_stand_beside_verdicts_and_comparisons(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "c.html"
    for command in (("gate", run), ("compare", run)):
        assert LINE in call(*command).stdout
        assert f"\n* {LINE}" in call(*command, "--format", "markdown").stdout
    assert call("compare", run, "--format", "html", "--out", page).exit_code == 0
    assert "published (a paper)" in page.read_text()


@pytest.mark.parametrize("sides", [("slow", "fast"), ("fast", "slow")])
def test_a_comparison_cites_the_same_whichever_side_is_the_baseline(
    run: Path, sides: tuple[str, str]
) -> None:
    found = comparison(*(f"{run}:{name}" for name in sides))
    [cited] = found["references"]
    assert (cited["engine"], cited["baseline"]) == ("fast", "slow")
    ratios = {each["metric"]: each["ratio"] for each in next(iter(found["comparisons"].values()))}
    of_fast = ratios["ttft.p50"] if sides[0] == "slow" else 1 / ratios["ttft.p50"]
    assert cited["times_better"] == pytest.approx(1 / of_fast)


def test_nothing_is_cited_of_an_engine_against_its_own_earlier_run(run: Path) -> None:
    assert comparison(run, run)["references"] == []


def test_a_file_for_what_goes_to_the_terminal_is_refused_and_not_forgotten(
    run: Path, tmp_path: Path
) -> None:
    for command in (("gate", run), ("compare", run)):
        said = failed(*command, "--out", tmp_path / "x")
        assert said.startswith(f"--out {tmp_path / 'x'}: needs --format json")
