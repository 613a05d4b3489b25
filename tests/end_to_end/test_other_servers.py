"""The main job against servers that do not behave: what is theirs, what is the driver's, and what
nobody's, in the verdict and in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.command import finish, only_run, start, workload
from tests.end_to_end.scripted_engine import running_scripted_engine

NUM_TOKENS = 12
CONVERSATIONS = {
    "source": "fixed",
    "count": 40,
    "turns": 1,
    "prompt_tokens": 8,
    "output_tokens": NUM_TOKENS,
}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    with running_scripted_engine(tmp_path) as port:
        yield port


def spec_of(port: int, script: dict[str, Any], **more: Any) -> dict[str, Any]:
    engine = {
        "kind": "openai",
        "base_url": f"http://127.0.0.1:{port}/v1",
        "api": "chat",
        "extra_body": {"script": script},
    }
    arrivals = {"process": "constant", "rate": 100.0}
    settings = {"conversations": CONVERSATIONS, "arrivals": arrivals, **more}
    return workload(engines={"theirs": engine}, **settings)


def played(tmp_path: Path, spec: dict[str, Any]) -> tuple[int, dict[str, Any], str]:
    """The exit code, what was measured of the engine, and what was said."""
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec))
    return code, json.loads((only_run(tmp_path) / "metrics.json").read_text()), out + err


def test_a_stream_that_comes_in_one_write_leaves_gates_on_its_gaps_open_and_no_others(
    tmp_path: Path, port: int
) -> None:
    chunk = {"choices": [{"index": 0, "delta": {"content": " a"}}]}
    events = [f"data: {json.dumps(chunk)}\n\n"] * NUM_TOKENS + ["data: [DONE]\n\n"]
    script = {"writes": [[0.1, text, int("choices" in text)] for text in events]}
    gates = ["tbt.p50 <= 5ms", "tpot.p50 <= 5ms"]
    gates += ["ttft.p50 <= 60s", "slo.users_within_slo_ratio >= 0.1"]
    code, metrics, said = played(tmp_path, spec_of(port, script, gates=gates))
    assert code == 3, said
    of_gaps, of_tpot, *others = metrics["gates"]
    assert of_gaps["outcome"] == of_tpot["outcome"] == "inconclusive"
    assert "100.0% of the tokens after an answer's first one came together" in of_tpot["reason"]
    assert "the stream is buffered on its way" in of_gaps["reason"]
    assert [each["outcome"] for each in others] == ["pass", "pass"]
    engine = metrics["engines"]["theirs"]
    assert engine["is_driver_valid"] is True
    assert not [text for text in engine["warnings"] if "use more workers" in text]


def test_a_server_that_refuses_every_turn_ends_the_run_early_with_its_words(
    tmp_path: Path, port: int
) -> None:
    arrivals = {"process": "constant", "rate": 4.0}
    many = {**CONVERSATIONS, "count": 10_000}  # would go on for 40 minutes
    refusal = [0.0, 'data: {"error": {"message": "no such adapter"}}\n\n', 0]
    spec = spec_of(port, {"writes": [refusal]}, conversations=many, arrivals=arrivals)
    code, metrics, said = played(tmp_path, spec)
    assert code == 4, said
    words = " ".join(said.split())
    assert "turns failed (stop: error_ratio 0.5 after 20)" in words
    assert "the first with: error in the stream: no such adapter" in words
    engine = metrics["engines"]["theirs"]
    assert engine["status"] == "failed"
    assert engine["counts"]["recorded"] < 100
    assert engine["not_asked"]["not_due"] > 9_900


def test_an_engine_that_is_asked_for_six_times_what_it_gives_is_called_overloaded(
    tmp_path: Path, port: int
) -> None:
    """Thirty-six turns come 10 ms apart and take 60 ms each, one after another."""
    few = {**CONVERSATIONS, "count": 36}
    script = {"first_after_s": 0.027, "gap_s": 0.003, "is_one_at_a_time": True}
    spec = spec_of(port, script, conversations=few)
    code, metrics, said = played(tmp_path, spec)
    assert code == 0, said
    load = metrics["engines"]["theirs"]["steady_state"]
    assert (load["is_overloaded"], load["is_steady"]) == (True, False)
    assert "overloaded: the backlog grew from" in " ".join(said.split())


@pytest.mark.parametrize(
    "arrivals",
    [{"process": "closed", "concurrency": 40}, {"process": "constant", "rate": 10_000.0}],
)
def test_a_plan_that_needs_more_files_than_it_may_open_is_refused_before_the_start(
    tmp_path: Path, port: int, arrivals: dict[str, Any]
) -> None:
    spec = spec_of(port, {}, arrivals=arrivals)
    allow_few = ["bash", "-c", 'ulimit -n 96 && exec "$@"', "bash"]
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec, through=allow_few))
    assert code == 4, out + err
    assert "ulimit -n 104" in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()
