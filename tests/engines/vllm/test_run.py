"""`fsbench run` with a (fake) vLLM: what is recorded, counted and told, and what is left when it
dies in the middle or the user has had enough."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from suite.records.run_directory import Manifest
from suite.records.turn_records import read_turns
from tests.end_to_end.command import finish, left_behind, only_run, start, workload
from tests.engines.vllm.conftest import FakeVllm

Make = Callable[..., FakeVllm]
CONVERSATIONS = {"source": "fixed", "count": 3, "turns": 2, "prompt_tokens": 8, "output_tokens": 4}


def spec(fake: FakeVllm, **changes: Any) -> dict[str, Any]:
    return workload(engines={"v": fake.settings}, **{"conversations": CONVERSATIONS, **changes})


def test_a_run_says_what_ran_and_counts_under_the_embedded_engines_names(
    fake_vllm: Make, tmp_path: Path
) -> None:
    fake = fake_vllm()
    fake_settings = {**fake.settings, "scheduling": "trace"}
    given = workload(engines={"v": fake_settings}, conversations=CONVERSATIONS)
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, given))
    assert code == 0, out + err
    run = only_run(tmp_path)
    version = (
        "vLLM 0.0.fake: fsbench's scheduler plug-in, priority trace, preemption by recompute, "
        "prefix caching on, float32"
    )
    assert f"v is {version}" in out
    assert Manifest.read(run).trials[0].engine_version == version
    engine = json.loads((run / "metrics.json").read_text())["engines"]["v"]
    assert engine["version"] == version
    switching = engine["context_switch"]
    assert switching["num_preemptions"] == 3 * 6  # three for each streamed answer, here
    assert switching["reused_tokens_ratio"] == 10 / 40
    assert switching["num_steps"] is switching["stall_s"] is None
    assert pq.read_table(run / "v/1/server_metrics.parquet")["at"][0].as_py() < 0
    assert "vLLM 0.0.fake" in (run / "report.html").read_text()
    asked = [body for body in fake.bodies() if body.get("stream")]
    turns = read_turns(run / "v/1/turns.parquet")
    named = sorted(body["vllm_xargs"]["conversation_id"] for body in asked)
    assert named == sorted(turn.conversation_id for turn in turns)
    assert all("priority" in body and body["return_token_ids"] for body in asked)
    isolation = Manifest.read(run).trials[0].isolation
    assert isolation is not None
    assert isolation.by == "cache_salt"
    assert {body["cache_salt"] for body in asked} == {isolation.salt}
    assert left_behind(run) == []
    fake.check_nothing_is_left()


def test_its_cache_is_reset_by_its_own_endpoint_where_that_is_wanted(
    fake_vllm: Make, tmp_path: Path
) -> None:
    fake = fake_vllm()
    settings = {**fake.settings, "prefix_cache": {"reset": "POST /reset_prefix_cache"}}
    given = workload(engines={"v": settings}, conversations=CONVERSATIONS, repeats=2)
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, given))
    assert code == 0, out + err
    assert fake.num_resets() == 2
    assert all("cache_salt" not in body for body in fake.bodies())


def test_a_server_that_dies_in_the_middle_is_told_and_keeps_what_was_measured(
    fake_vllm: Make, tmp_path: Path
) -> None:
    fake = fake_vllm("dies_mid_run")
    # Whoever was answered asks again much later: the death is seen before the run is over.
    conversations, pause = (
        {**CONVERSATIONS, "count": 5},
        {"distribution": "constant", "value": "10m"},
    )
    given = spec(fake, conversations=conversations, think_time=pause)
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, given))
    assert code == 4, out + err
    said = " ".join(err.split())
    assert "v: died, ended with exit status 3: RuntimeError: the engine core is" in said
    run = only_run(tmp_path)
    (trial,) = Manifest.read(run).trials
    assert trial.status == "failed"
    assert len(read_turns(run / "v/1/turns.parquet")) == trial.counts.recorded > 0
    fake.check_nothing_is_left()


def test_ctrl_c_while_it_starts_leaves_nothing(fake_vllm: Make, tmp_path: Path) -> None:
    fake = fake_vllm("never_gets_ready")
    process = start(["run", "w.yaml"], tmp_path, spec(fake))
    while not fake.pids:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert code == 4, out + err
    assert "Traceback" not in err
    fake.check_nothing_is_left()
