"""`--engine NAME`: what is played, and what is said of the rest."""

from __future__ import annotations

import pytest

from suite.playing.chosen_engines import choose_engines
from suite.playing.workload import resolve_workload
from tests.suite.sweep.examples import source_of
from workloads.errors import WorkloadError

GATES = [
    "ttft.p50 <= 1s",
    "fastswitch: ttft.p50 <= 1s",
    "tbt.mean <= 1.1 * baseline",
    "fastswitch: tbt.mean <= baseline",
]
CITED = {
    "source": "somebody",
    "metrics": ["ttft.p99"],
    "times_better": {"high": 2.0},
    "engine": "fastswitch",
}


@pytest.mark.parametrize(
    ("names", "gates", "baseline", "num_references"),
    [
        (["fastswitch", "vllm-0.3"], GATES, "vllm-0.3", 1),
        (["fastswitch"], GATES[:2], None, 0),
        (["vllm-0.3"], GATES[:1], "vllm-0.3", 0),
    ],
)
def test_what_needs_an_engine_that_is_not_played_is_left_out_and_said(
    tmp_path, names, gates, baseline, num_references
):
    source = source_of(tmp_path, gates=GATES, references=[CITED])
    chosen, notes = choose_engines(source, names)
    spec = resolve_workload(chosen).spec
    assert set(spec.engines) == set(names)
    assert (spec.gates, spec.baseline) == (gates, baseline)
    assert len(spec.references) == num_references
    left_out = [text for text in GATES if text not in gates]
    assert len(notes) == len(left_out) + (1 - num_references)
    for text, note in zip(left_out, notes, strict=False):
        assert note.startswith(f"gate {text!r} is left out: ")


def test_the_reason_names_the_engine_that_is_missing(tmp_path):
    _, notes = choose_engines(source_of(tmp_path, gates=GATES[2:]), ["fastswitch"])
    why = "the baseline 'vllm-0.3' is not played (add --engine vllm-0.3)"
    assert notes == [f"gate {text!r} is left out: {why}" for text in GATES[2:]]


def test_the_plan_is_the_same_whoever_answers_it(tmp_path):
    source = source_of(tmp_path)
    chosen, _ = choose_engines(source, ["fastswitch"])
    assert resolve_workload(chosen).plan.digest == resolve_workload(source).plan.digest


def test_an_unknown_engine_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(WorkloadError, match=r"--engine x: .* choose one of: vllm-0.3, fastswitch"):
        choose_engines(source_of(tmp_path), ["x"])


@pytest.mark.parametrize(
    ("key", "values"),
    [("engines.fastswitch.kv_tokens", [4096]), ("baseline", ["fastswitch"]), ("gates", [[]])],
)
def test_what_a_matrix_would_bring_back_is_refused(tmp_path, key, values):
    with pytest.raises(WorkloadError, match=rf"matrix\.{key} cannot be swept with --engine"):
        choose_engines(source_of(tmp_path, matrix={key: values}), ["vllm-0.3"])


@pytest.mark.parametrize("key", ["arrivals.rate", "engines.*.kv_tokens", "engines.vllm-0.3.seed"])
def test_a_matrix_of_what_is_played_stays(tmp_path, key):
    chosen, _ = choose_engines(source_of(tmp_path, matrix={key: [1, 2]}), ["vllm-0.3"])
    assert chosen.raw["matrix"] == {key: [1, 2]}
