"""Gates: what may be written, what it means, and when it is left open."""

from __future__ import annotations

import numpy as np
import pytest

from suite.judging.gate_syntax import GateError, parse_gate, parse_gates
from suite.judging.gates import Outcome, evaluate, exit_code
from suite.judging.sides import EngineSide, against
from suite.statistics.summaries import summarise


def engine(samples, *, users_within=0.9, class_samples=None, switch=None):
    """An engine's entry in metrics.json, as far as gates look at it."""
    slo = {"users_within_slo_ratio": users_within, "turn_attainment_ratio": 0.5, "num_users": 10}
    classes = {"interactive": samples if class_samples is None else class_samples}
    return {
        "ttft_s": summarise(np.array(samples)).as_json(),
        "slo": {**slo, "by_class": {"interactive": {**slo, "users_within_slo_ratio": 0.1}}},
        "by_class": {
            name: {"ttft_s": summarise(np.array(each)).as_json()} for name, each in classes.items()
        },
        "context_switch": switch,
        "counts": {"recorded": 9, "failed": 3, "lost": 0},
        "is_exact": False,
        "is_driver_valid": True,
        "pace": None,
        "num_conversations": 100,
        "between_runs": None,
        "repeats": [{}],
        "unavailable": {} if switch else {"context_switch": "the engine gives no step log"},
    }


def judge(text, engines, baseline=None):
    return judge_all([parse_gate(text)], engines, baseline)


def judge_all(gates, engines, baseline=None):
    sides = {name: EngineSide(name, each, None) for name, each in engines.items()}
    return evaluate(gates, sides, against(sides, baseline))


THOUSAND = np.arange(1, 1001) / 1000  # P99 0.99 s, interval about 0.983 to 0.996


@pytest.mark.parametrize(
    ("text", "metric", "bound"),
    [
        ("ttft.p99 <= 1.5s", "ttft.p99", 1.5),
        ("ttft.p99<=800ms", "ttft.p99", 0.8),
        ("tbt.p999 < 250 ms", "tbt.p999", 0.25),
        ("slo.users_within_slo_ratio >= 0.9", "slo.users_within_slo_ratio", 0.9),
        ("context_switch.stall_s <= 2m", "context_switch.stall_s", 120.0),
        ("context_switch.num_conflicts <= 3", "context_switch.num_conflicts", 3.0),
        (
            "context_switch.swap_in_bytes_per_s >= 1000000",
            "context_switch.swap_in_bytes_per_s",
            1e6,
        ),
        ("throughput.output_tokens_per_s >= 1200", "throughput.output_tokens_per_s", 1200.0),
    ],
)
def test_a_gate_reads_as_it_is_written(text, metric, bound):
    gate = parse_gate(text)
    assert (gate.metric.name, gate.bound, gate.is_times_baseline) == (metric, bound, False)
    assert (gate.engine, gate.metric.user_class) == (None, None)


def test_a_gate_may_name_an_engine_and_a_class():
    gate = parse_gate("vllm-0.3: ttft.p99[interactive] <= 1s")
    assert (gate.engine, gate.metric.user_class) == ("vllm-0.3", "interactive")


@pytest.mark.parametrize(("text", "factor"), [("1.05 * baseline", 1.05), ("baseline", 1.0)])
def test_a_bound_may_be_a_multiple_of_the_baseline(text, factor):
    gate = parse_gate(f"tbt.p999 <= {text}")
    assert (gate.bound, gate.is_times_baseline) == (factor, True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft.p99 <= 1.5", "the bound must be written like 250ms"),
        ("ttft.p98 <= 1s", "did you mean 'ttft.p99'"),
        ("ttft_s.p99 <= 1s", "did you mean 'ttft.p99'"),
        ("latency <= 1s", "choose from: ttft, first_token_delay"),
        ("slo.users_within_slo_ratio >= 90%", "has no unit, got the bound '90%'"),
        ("counts.failed <= 3s", "has no unit"),
        ("ttft.p99 = 1s", "must read METRIC <= BOUND"),
        ("counts.failed[interactive] <= 3", "is not known per user class"),
        ("", "must read METRIC <= BOUND"),
    ],
)
def test_a_wrong_gate_is_refused_in_one_line_that_says_what_to_write(text, said):
    with pytest.raises(GateError) as error:
        parse_gate(text)
    assert str(error.value).startswith(f"gate {text!r}: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("fast: ttft.p99 <= 1s", "engine 'fast' is unknown; choose one of: a, b"),
        ("ttft.p99[gold] <= 1s", "user class 'gold' is unknown; choose one of: interactive"),
        ("b: ttft.p99 <= baseline", "holds the baseline 'b' against itself"),
    ],
)
def test_a_gate_out_of_the_workloads_scope_is_refused(text, said):
    with pytest.raises(GateError, match=said):
        parse_gates(
            [text], engines=["a", "b"], user_classes=["interactive"], baseline="b", where="w.yaml"
        )


def test_a_baseline_gate_without_a_baseline_is_refused():
    with pytest.raises(GateError, match="add `baseline: ENGINE`"):
        parse_gates(
            ["ttft.p99 <= baseline"], engines=["a"], user_classes=[], baseline=None, where="w.yaml"
        )


@pytest.mark.parametrize(
    ("bound", "outcome"),
    [("1s", "pass"), ("990ms", "inconclusive"), ("992ms", "inconclusive"), ("950ms", "fail")],
)
def test_a_percentile_is_judged_by_its_whole_interval(bound, outcome):
    (found,) = judge(f"ttft.p99 <= {bound}", {"a": engine(THOUSAND)})
    assert found.outcome == outcome
    assert found.observed == 0.99
    assert found.num_samples == 1000
    assert found.interval is not None
    low, high = found.interval.low, found.interval.high
    assert low < 0.99 < high


def test_an_open_interval_can_fail_but_not_pass():
    samples = np.arange(1, 201) / 200  # 200 samples bound P99 only from below
    (passing,) = judge("ttft.p99 <= 100s", {"a": engine(samples)})
    (failing,) = judge("ttft.p99 <= 500ms", {"a": engine(samples)})
    assert (passing.outcome, failing.outcome) == (Outcome.INCONCLUSIVE, Outcome.FAIL)
    assert passing.interval is not None
    assert passing.interval.high is None
    assert "too few samples to bound it" in passing.reason


def test_a_percentile_that_is_not_available_is_inconclusive_with_its_reason():
    (found,) = judge("ttft.p999 <= 1s", {"a": engine([0.1] * 50)})
    assert found.outcome == Outcome.INCONCLUSIVE
    assert found.observed is None
    assert found.reason == "needs at least 1,000 samples, has 50"


@pytest.mark.parametrize(("bound", "outcome"), [("0.9", "pass"), ("0.91", "fail")])
def test_a_ratio_is_simply_compared(bound, outcome):
    (found,) = judge(f"slo.users_within_slo_ratio >= {bound}", {"a": engine(THOUSAND)})
    assert (found.outcome, found.interval) == (outcome, None)


def test_an_interval_of_a_share_ends_at_1_however_wide_its_ratio_is():
    engines = {"a": engine(THOUSAND, users_within=1.0), "b": engine(THOUSAND, users_within=0.5)}
    for name, ends in (("a", [0.9, 1.0]), ("b", [0.3, 0.7])):
        engines[name]["slo"]["interval"] = {"users_within_slo_ratio": ends}
    (found,) = judge("a: slo.users_within_slo_ratio >= 1.1 * baseline", engines, "b")
    assert found.outcome == "pass"
    assert 0.5 < found.interval.low < 0.8 and found.interval.high == 1.0


def test_a_class_gate_looks_at_that_class():
    engines = {"a": engine(THOUSAND, class_samples=THOUSAND * 5)}
    (latency,) = judge("ttft.p99[interactive] <= 2s", engines)
    (ratio,) = judge("slo.users_within_slo_ratio[interactive] >= 0.5", engines)
    assert (latency.observed, latency.outcome) == (4.95, "fail")
    assert (ratio.observed, ratio.outcome) == (0.1, "fail")


def test_a_gate_without_engine_holds_for_all_and_skips_the_baseline_only_against_itself():
    engines = {"a": engine(THOUSAND), "b": engine(THOUSAND)}
    absolute = judge("ttft.p99 <= 2s", engines, "b")
    relative = judge("ttft.p99 <= 2 * baseline", engines, "b")
    scoped = judge("b: ttft.p99 <= 2s", engines, "b")
    assert [each.engine for each in absolute] == ["a", "b"]
    assert [each.engine for each in relative] == ["a"]
    assert [each.engine for each in scoped] == ["b"]


@pytest.mark.parametrize(("factor", "outcome"), [(0.4, "fail"), (1.0, "inconclusive"), (2, "pass")])
def test_a_baseline_gate_takes_the_baselines_uncertainty_into_account(factor, outcome):
    engines = {"a": engine(THOUSAND), "b": engine(THOUSAND)}
    (found,) = judge(f"ttft.p99 <= {factor} * baseline", engines, "b")
    (alone,) = judge("ttft.p99 <= 1s", {"a": engine(THOUSAND)})
    assert found.outcome == outcome
    assert found.bound == pytest.approx(factor * 0.99)
    assert found.interval is not None
    assert alone.interval is not None
    assert found.interval.low < alone.interval.low
    assert found.interval.high > alone.interval.high


def test_what_the_engine_does_not_give_is_inconclusive():
    (found,) = judge("context_switch.num_preemptions <= 5", {"a": engine(THOUSAND)})
    assert found.outcome == Outcome.INCONCLUSIVE
    assert found.reason == "the engine gives no step log"


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([], 0),
        (["pass", "pass"], 0),
        (["pass", "inconclusive"], 3),
        (["inconclusive", "fail", "pass"], 1),
    ],
)
def test_the_exit_code_is_the_worst_outcome(outcomes, code):
    assert exit_code(outcomes) == code


def test_an_engine_that_never_ran_passes_no_gate():
    never = engine(THOUSAND)
    never["counts"] = {"recorded": 0, "failed": 0, "lost": 9}
    gates = [parse_gate("counts.failed <= 0"), parse_gate("fast: counts.failed <= baseline")]
    outcomes = judge_all(gates, {"fast": engine(THOUSAND), "base": never}, "base")
    assert [each.outcome for each in outcomes if each.engine == "base"] == [Outcome.INCONCLUSIVE]
    assert outcomes[-1].outcome is Outcome.INCONCLUSIVE


def test_gaps_that_were_lost_on_the_way_are_doubts_of_gates_on_gaps_alone():
    samples = summarise(THOUSAND).as_json()
    mine = {**engine(THOUSAND), "tbt_s": samples, "tbt_doubt": "the stream is buffered"}
    gates = [parse_gate("tbt.p50 <= 5s"), parse_gate("ttft.p50 <= 5s")]
    of_gaps, of_ttft = judge_all(gates, {"a": mine})
    assert (of_gaps.outcome, of_gaps.reason) == (Outcome.INCONCLUSIVE, "the stream is buffered")
    assert of_gaps.more_conversations is None
    assert of_ttft.outcome is Outcome.PASS
