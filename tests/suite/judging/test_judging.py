"""compare, gate, baseline and export on whole run directories, through the command line."""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.errors import RunDirectoryError
from suite.judging.metrics_file import measure
from suite.judging.run_comparison import said_once
from suite.records.run_directory import Manifest
from suite.statistics.quantiles import Interval
from suite.statistics.ratio_intervals import combined_ratio
from tests.reports.synthetic_run import FAST, SLOW, make_plan, write_run
from workloads.errors import InputError

CALLED_APART = ("better", "worse")
GATES = ("ttft.p50 <= 1.5s", "ttft.p99 <= 1ms", "slow: counts.failed <= 0")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    plan = make_plan(num_conversations=40)
    both = {"fast": FAST, "slow": SLOW}
    write_run(root / "a", both, plan=plan, repeats=1, gates=GATES, baseline="slow")
    both["slow"] = replace(SLOW, ttft_s=1.8)
    write_run(root / "b", both, plan=plan, repeats=1, baseline="slow")
    other = make_plan(num_conversations=20, seed=9)
    write_run(root / "other", {"fast": FAST}, plan=other, repeats=1)
    return root


def call(*arguments, **env):
    unset = {"GITHUB_STEP_SUMMARY": None, "GITHUB_ACTIONS": None}
    return CliRunner().invoke(app, [str(each) for each in arguments], env={**unset, **env})


def failed(*arguments):
    """The error that the command line turns into one line."""
    found = call(*arguments)
    assert isinstance(found.exception, (InputError, RunDirectoryError)), found.output
    assert "\n" not in str(found.exception)
    return str(found.exception)


def comparison(*arguments):
    found = call("compare", *arguments, "--format", "json")
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


def test_an_engine_compared_with_itself_is_the_same_in_everything(runs):
    entries = comparison(f"{runs}/a:fast", f"{runs}/a:fast")["comparisons"][f"{runs}/a:fast"]
    assert {each["verdict"] for each in entries if each["ratio"] is not None} == {"same"}
    medians = [each for each in entries if each["metric"] == "ttft.p50"]
    assert {tuple(each["within_runs"]) for each in medians} == {(1, 1)}


def test_what_got_slower_is_said_to_be_worse_with_a_paired_interval(runs):
    found = comparison(runs / "a", runs / "b")
    assert found["is_paired"]
    assert [each["baseline"] for each in found["sides"]] == [
        None,
        None,
        f"{runs}/a:fast",
        f"{runs}/a:slow",
    ]
    [ttft] = [
        each
        for each in found["comparisons"][f"{runs}/b:slow"]
        if each["metric"] == "ttft.p50" and each["user_class"] is None
    ]
    assert ttft["verdict"] == "worse"
    assert ttft["ratio"] == ttft["value"] / ttft["baseline"]
    assert 1 < ttft["interval"][0] < ttft["ratio"] < ttft["interval"][1]


def test_means_and_numbers_of_users_are_paired(runs):
    """What an engine has in common with itself is everything: a ratio of means is 1 to 1, and one
    of users' numbers surer than that of two who know nothing of each other."""
    entries = comparison(f"{runs}/a:slow", f"{runs}/a:slow")["comparisons"][f"{runs}/a:slow"]
    found = {each["metric"]: each for each in entries if each["user_class"] is None}
    assert found["ttft.mean"]["within_runs"] == found["e2e.mean"]["within_runs"] == [1, 1]
    for metric in ("slo.turn_attainment_ratio", "fairness.jain_index", "fairness.gini_index"):
        value, (low, high) = found[metric]["value"], found[metric]["value_interval"]
        own = Interval(low=low, high=high)
        apart = combined_ratio(value, own, value, own)
        assert apart.low is not None
        assert apart.high is not None
        low, high = found[metric]["within_runs"]
        assert apart.low < low <= 1 <= high < apart.high


def test_the_same_records_always_give_the_same_comparison(runs):
    assert comparison(runs / "a", runs / "b") == comparison(runs / "a", runs / "b")


def test_different_plans_are_refused_with_both_digests(runs):
    message = failed("compare", f"{runs}/a:fast", runs / "other")
    digests = [Manifest.read(runs / name).plan_digest[:12] for name in ("a", "other")]
    assert f"plan differs ({digests[0]} vs {digests[1]})" in message
    found = comparison(f"{runs}/a:fast", runs / "other", "--unpaired")
    assert not found["is_paired"]
    [entries] = found["comparisons"].values()
    assert all(each["interval"] for each in entries if each["metric"] == "ttft.p50")


def test_comparisons_are_said_in_markdown_and_in_the_terminal(runs, tmp_path):
    out = tmp_path / "c.md"
    assert (
        call("compare", runs / "a", runs / "b", "--format", "markdown", "--out", out).exit_code == 0
    )
    assert "| worse | `ttft.p50` |" in out.read_text()
    shown = call("compare", runs / "a", runs / "b").stdout
    table = [line for line in shown.splitlines() if not line.startswith("!")]
    assert max(len(line) for line in table) < 201
    assert "worse" in shown
    assert re.search(
        r"^tbt\.p99\[\w+\] ", call("compare", runs / "a", runs / "b", "--all").stdout, re.M
    )


def test_what_can_not_be_compared_is_refused(runs):
    assert "nothing to compare it with" in failed("compare", runs / "other")
    assert "choose one of: fast, slow" in failed("compare", f"{runs}/a:mine", runs / "b")


def test_gates_give_an_exit_code_junit_a_summary_and_annotations(runs, tmp_path):
    junit, summary = tmp_path / "j" / "junit.xml", tmp_path / "summary.md"
    found = call(
        "gate",
        runs / "a",
        "--junit",
        junit,
        GITHUB_STEP_SUMMARY=str(summary),
        GITHUB_ACTIONS="true",
    )
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert [line.split()[0] for line in lines[:5]] == ["FAIL", "FAIL", "PASS", "PASS", "PASS"]
    assert lines[5].startswith("::error title=fast%3A ttft.p99 <= 1ms::got ")
    assert "| ❌ FAIL | `fast: ttft.p99 <= 1ms` |" in summary.read_text()
    suite = ElementTree.parse(junit).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "0")


def test_rules_may_come_from_a_file_and_errors_name_it(runs, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("gates: ['fast: ttft.p50 <= 1s']")
    assert call("gate", runs / "a", "--rules", rules).exit_code == 0
    rules.write_text("- ttft.p98 <= 1s")
    assert failed("gate", runs / "a", "--rules", rules).startswith(f"{rules}: gate 'ttft.p98")
    rules.write_text("ttft")
    assert "must be a list of gates" in failed("gate", runs / "a", "--rules", rules)
    assert "there are no gates to judge by" in failed("gate", runs / "b")


def test_a_gate_that_yaml_reads_as_a_mapping_needs_quotes(runs, tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("- slow: ttft.p99 <= 1s")
    said = failed("gate", runs / "a", "--rules", rules)
    assert said == f'{rules}: a gate must be text; put it in quotes: "slow: ttft.p99 <= 1s"'


def test_a_baseline_without_any_of_the_runs_engines_is_refused_with_those_it_has(runs, tmp_path):
    plan = make_plan(num_conversations=40)
    other = write_run(tmp_path / "c", {"third": FAST}, plan=plan, repeats=1)
    rules = tmp_path / "rules.yaml"
    rules.write_text("- ttft.p99 <= 2 * baseline")
    said = failed("gate", other, "--baseline", runs / "a", "--rules", rules)
    assert said.endswith(f"with --baseline {runs / 'a'}:ENGINE: fast, slow")
    named = call("gate", other, "--baseline", f"{runs / 'a'}:fast", "--rules", rules)
    assert "from" in named.stdout and named.exit_code in (0, 3)


def test_runs_with_other_user_classes_are_compared_by_what_they_share(tmp_path):
    plan = make_plan(num_conversations=20)
    classes = [replace(each, name=each.name.upper()) for each in plan.user_classes]
    renamed = replace(
        plan,
        user_classes=tuple(classes),
        conversations=tuple(
            replace(each, user_class=each.user_class.upper()) for each in plan.conversations
        ),
    )
    for name, each in {"a": plan, "b": renamed}.items():
        write_run(tmp_path / name, {"fast": FAST}, plan=each, repeats=1)
    [entries] = comparison(tmp_path / "a", tmp_path / "b", "--unpaired")["comparisons"].values()
    by_class = [each for each in entries if each["user_class"]]
    assert by_class
    assert {each["verdict"] for each in by_class} == {"missing"}
    reasons = {each["reason"] for each in by_class}
    assert "the baseline has none: its plan has no user class 'INTERACTIVE'" in reasons


def test_what_is_said_of_all_sides_is_said_once(runs):
    found = comparison(runs / "a")["warnings"]
    assert len(found) == len(set(found))
    assert said_once([("a", "x"), ("b", "y"), ("c", "x")]) == {"x": ["a", "c"], "y": ["b"]}


@pytest.mark.parametrize("kind", ["run", "file"])
def test_a_gate_against_an_earlier_run_or_its_stored_baseline(runs, tmp_path, kind):
    baseline = runs / "a"
    if kind == "file":
        baseline = tmp_path / "baseline.json"
        assert call("baseline", "update", runs / "a", "--out", baseline).exit_code == 0
        assert baseline.stat().st_size < 100_000
    rules = tmp_path / "rules.yaml"
    rules.write_text("- ttft.p50 <= 1.5 * baseline")
    found = call("gate", runs / "b", "--baseline", baseline, "--rules", rules, "--format", "json")
    fast, slow = json.loads(found.stdout)
    assert (fast["outcome"], slow["outcome"], found.exit_code) == ("pass", "fail", 1)
    assert slow["baseline"] == f"{baseline}:slow"
    assert slow["bound"] == pytest.approx(
        1.5 * measure(runs / "a")["engines"]["slow"]["ttft_s"]["p50"]
    )
    assert "plan differs" in failed(
        "gate", runs / "other", "--baseline", baseline, "--rules", rules
    )


def test_a_baseline_is_not_written_over_a_folder(runs, tmp_path):
    said = failed("baseline", "update", runs / "a", "--out", tmp_path)
    assert said == f"{tmp_path}: is a folder; name the file to write, such as {tmp_path}/main.json"
    assert not tmp_path.with_name(tmp_path.name + ".partial").exists()


def test_a_damaged_baseline_is_refused_with_what_to_do(runs, tmp_path):
    path = tmp_path / "b.json"
    path.write_text("{}")
    assert "write one with: fsbench baseline update" in failed(
        "gate", runs / "a", "--baseline", path
    )
    good = tmp_path / "good.json"
    call("baseline", "update", runs / "a", "--out", good)
    for value in ("NaN", '"x"', "null"):
        path.write_text(re.sub(r'"value": [0-9.e-]+', f'"value": {value}', good.read_text()))
        said = failed("gate", runs / "a", "--baseline", path)
        assert said.startswith(f"{path}: engines.fast.metrics.ttft.mean.value: input should be a")
    path.write_text(good.read_text().replace('"warm_up"', '"worm_up"'))
    assert "measured has no 'warm_up'; write it anew" in failed(
        "gate", runs / "a", "--baseline", path
    )
    path.write_text(good.read_text().replace('"metrics"', '"metrix"'))
    assert "engines.fast.metrics: field required; write it anew" in failed(
        "gate", runs / "a", "--baseline", path
    )


def test_a_baseline_does_not_replace_what_is_no_ordinary_file(runs, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    said = failed("baseline", "update", runs / "a", "--out", tmp_path / "pipe")
    assert said == f"{tmp_path}/pipe: is no ordinary file; name one to write"


def as_simulated(run: Path) -> None:
    manifest = Manifest.read(run)
    engines = {name: {"kind": "simulated", "time": "virtual"} for name in manifest.engines}
    manifest.model_copy(update={"engines": engines}).write(run)


def test_exact_runs_are_judged_on_the_point_and_never_open(tmp_path):
    """The same numbers, real and simulated: P99 of 60 conversations is open only for the real."""
    rules = tmp_path / "rules.yaml"
    rules.write_text("- ttft.p99 <= 1.0001 * baseline\n- ttft.p99 <= 0.9999 * baseline")
    run = write_run(tmp_path / "run", {"fast": FAST}, repeats=1)
    baseline = tmp_path / "b.json"
    outcomes = {}
    for kind in ("real", "simulated"):
        if kind == "simulated":
            as_simulated(run)
        call("baseline", "update", run, "--out", baseline)
        found = call("gate", run, "--baseline", baseline, "--rules", rules, "--format", "json")
        outcomes[kind] = [each["outcome"] for each in json.loads(found.stdout)]
    assert outcomes == {"real": ["inconclusive"] * 2, "simulated": ["pass", "fail"]}


def test_a_driver_out_of_its_bounds_leaves_times_open_but_not_counts(tmp_path):
    gates = ("ttft.p50 <= 1ms", "ttft.p50 <= 1h", "counts.failed <= 0", "driver_lag.p50 <= 1h")
    run = write_run(tmp_path, {"fast": FAST}, gates=gates, repeats=1)
    manifest = Manifest.read(run)
    trials = [
        trial.model_copy(update={"driver": trial.driver.model_copy(update={"is_valid": False})})
        for trial in manifest.trials
    ]
    manifest.model_copy(update={"trials": trials}).write(run)
    found = call("gate", run, "--format", "json")
    assert [each["outcome"] for each in json.loads(found.stdout)] == [
        "inconclusive",
        "inconclusive",
        "pass",
        "pass",
    ]
    assert found.exit_code == 3


def test_turns_and_users_are_exported_as_csv(runs, tmp_path):
    out = tmp_path / "turns.csv"
    assert call("export", runs / "a", "--out", out).exit_code == 0
    with out.open() as file:
        rows = list(csv.DictReader(file))
    metrics = measure(runs / "a")["engines"]["fast"]
    fast = [float(row["ttft_s"]) for row in rows if row["engine"] == "fast" and row["ttft_s"]]
    assert len(fast) == metrics["ttft_s"]["count"]
    assert max(fast) == metrics["ttft_s"]["max"]
    assert call("export", runs / "a", "--format", "users-csv", "--out", out).exit_code == 0
    with out.open() as file:
        users = [row for row in csv.DictReader(file) if row["engine"] == "fast"]
    assert len(users) == metrics["slo"]["num_users"]
    assert users[0]["user_id"] == "u0000"


# Of `vllm bench serve --save-result --save-detailed`, vLLM 0.32.
VLLM_BENCH_KEYS = """
    date endpoint_type backend label model_id tokenizer_id num_prompts request_rate burstiness
    max_concurrency duration completed failed total_input_tokens total_output_tokens
    request_throughput request_goodput output_throughput total_token_throughput input_lens
    output_lens ttfts itls latencies start_times queue_times generated_texts errors
    max_output_tokens_per_s max_concurrent_requests rtfx"""


@pytest.mark.parametrize(
    ("arrivals", "rate", "burstiness"),
    [
        ({"process": "poisson", "rate": 2.0}, 3.0, 1.0),
        ({"process": "gamma", "rate": 2.0, "cv": 2.0}, 3.0, 0.25),
        ({"process": "constant", "rate": 2.0}, 3.0, "inf"),
        ({"process": "closed", "concurrency": 4}, "inf", 1.0),
    ],
)
def test_arrivals_are_exported_as_requests_in_vllms_terms(tmp_path, arrivals, rate, burstiness):
    """Two conversations with three turns in all: 2 conversations a second ask 3 requests."""
    plan = make_plan(num_conversations=2)
    one, other = plan.conversations
    turns = (one.turns[0], *other.turns[:1])
    plan = replace(plan, conversations=(replace(one, turns=turns[:1]), replace(other, turns=turns)))
    run = write_run(tmp_path / "run", {"fast": FAST}, plan=plan, repeats=1)
    manifest = Manifest.read(run)
    workload = {**manifest.workload, "arrivals": arrivals}
    manifest.model_copy(update={"workload": workload}).write(run)
    out = tmp_path / "bench.json"
    assert call("export", run, "--format", "vllm-bench", "--out", out).exit_code == 0
    found = json.loads(out.read_text())
    assert (found["request_rate"], found["burstiness"]) == (rate, burstiness)
    assert "has no repeat 2; choose one of 1 to 1" in failed(
        "export", run, "--format", "vllm-bench", "--repeat", "2", "--out", out
    )


def test_a_run_is_exported_as_vllms_benchmark_saves_it(runs, tmp_path):
    out = tmp_path / "bench.json"
    call("export", runs / "a", "--format", "vllm-bench", "--engine", "fast", "--out", out)
    found = json.loads(out.read_text())
    percentiles = {key for key in found if key.endswith("_ms")}
    assert set(found) - percentiles == set(VLLM_BENCH_KEYS.split())
    assert {
        f"{statistic}_{name}_ms"
        for name in ("ttft", "tpot", "itl", "e2el")
        for statistic in ("mean", "median", "std", "p99")
    } <= percentiles
    assert found["completed"] == len(found["ttfts"]) == len(found["itls"]) == found["num_prompts"]
    assert found["p99_ttft_ms"] == pytest.approx(1000 * np.percentile(found["ttfts"], 99))
    gaps = np.concatenate([np.array(each) for each in found["itls"]])
    assert found["mean_itl_ms"] == pytest.approx(1000 * gaps.mean())
    assert found["total_output_tokens"] == sum(found["output_lens"])
    ends = [
        at + length for at, length in zip(found["start_times"], found["latencies"], strict=True)
    ]
    assert found["max_concurrent_requests"] == max(
        sum(start <= at < end for start, end in zip(found["start_times"], ends, strict=True))
        for at in found["start_times"]
    )
    assert "holds one engine" in failed(
        "export", runs / "a", "--format", "vllm-bench", "--out", out
    )


@pytest.mark.parametrize("what", ["empty", "all failed"])
def test_runs_without_a_single_answer_are_judged_incomplete_and_free_of_nan(tmp_path, what):
    behaviour = replace(FAST, lost_ratio=1.0) if what == "empty" else replace(FAST, fail_ratio=1.0)
    run = write_run(
        tmp_path, {"fast": behaviour, "slow": SLOW}, gates=GATES, baseline="slow", repeats=1
    )
    json.dumps(measure(run), allow_nan=False)
    found = call("gate", run)
    assert found.exit_code in (1, 4)
    first = next(each for each in measure(run)["gates"] if each["engine"] == "fast")
    assert first["outcome"] == "inconclusive"
    assert call("compare", run).exit_code == 0


def test_the_version_is_told():
    assert call("--version").stdout.startswith("fsbench ")


def test_virtual_runs_of_different_plans_are_draws_and_judged_by_their_intervals(tmp_path):
    """Exact is a number against itself on the same plan, not two plans against each other."""
    rules, baseline = tmp_path / "rules.yaml", tmp_path / "b.json"
    rules.write_text("- ttft.p50 <= 1.0 * baseline\n- ttft.p50 >= 1.0 * baseline")
    plans = {
        name: make_plan(num_conversations=30, seed=seed) for name, seed in (("a", 1), ("b", 2))
    }
    for name, plan in plans.items():
        as_simulated(write_run(tmp_path / name, {"fast": FAST}, plan=plan, repeats=1))
    call("baseline", "update", tmp_path / "a", "--out", baseline)
    for other in (tmp_path / "a", baseline):
        found = call(
            *("gate", tmp_path / "b", "--baseline", other, "--rules", rules, "--unpaired"),
            *("--format", "json"),
        )
        outcomes = [(each["is_exact"], each["outcome"]) for each in json.loads(found.stdout)]
        assert outcomes == [(False, "inconclusive")] * 2
    [entries] = comparison(tmp_path / "a", tmp_path / "b", "--unpaired")["comparisons"].values()
    assert next(each for each in entries if each["metric"] == "ttft.p50")["verdict"] == "unclear"


def test_what_is_called_better_or_worse_shows_an_interval_that_says_so(runs):
    found = comparison(runs / "a", runs / "b")["comparisons"]
    called = [
        each for entries in found.values() for each in entries if each["verdict"] in CALLED_APART
    ]
    assert called
    for each in called:
        low, high = each["interval"]
        assert (low is not None and low > 1) or (high is not None and high < 1), each
        assert low is None or low <= each["ratio"]
        assert high is None or high >= each["ratio"]
    shown = call("compare", runs / "a", runs / "b").stdout.splitlines()
    lines = [line for line in shown if line.rstrip().endswith(CALLED_APART)]
    assert lines
    assert all("× to " in line or "at least" in line or "at most" in line for line in lines)


def test_exact_runs_say_that_the_number_alone_judges(tmp_path):
    run = write_run(tmp_path / "run", {"fast": FAST, "slow": SLOW}, repeats=1, baseline="slow")
    as_simulated(run)
    for form in ("text", "markdown"):
        said = " ".join(call("compare", run, "--format", form).stdout.split())
        assert "they are told apart by the number alone" in said
    assert "told apart by the number alone" not in call("compare", run, "--format", "json").stdout
