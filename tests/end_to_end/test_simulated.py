"""`kind: simulated` as a user runs it: in virtual time, and behind the real server in wall time."""

from __future__ import annotations

import json
from pathlib import Path

from suite.records.turn_records import read_turns
from tests.end_to_end.command import finish, left_behind, only_run, start, wait_for_turns, workload

ENGINE = {
    "kind": "simulated",
    "profile": "a10-llama3-8b",
    "kv_tokens": 2048,
    "swap_tokens": 20480,
}


def test_virtual_and_wall_time_play_the_same_turns(tmp_path: Path) -> None:
    spec = workload(
        model="llama-3-8b",
        engines={"simulated": ENGINE, "emulated": {**ENGINE, "time": "wall"}},
        repeats=1,
    )
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec))
    assert code == 0, out + err
    run = only_run(tmp_path)
    played = {
        name: {
            (each.conversation_id, each.turn): (
                each.num_prompt_tokens,
                each.num_output_tokens,
                sum(each.tokens_per_chunk),
                each.finish_reason,
                each.error,
            )
            for each in read_turns(run / name / "1" / "turns.parquet")
        }
        for name in spec["engines"]
    }
    assert len(played["simulated"]) == 12
    assert played["emulated"] == played["simulated"]
    assert (run / "emulated" / "1" / "steps.parquet").exists()
    assert "the emulation was late by" in (run / "emulated" / "1" / "engine.log").read_text()
    warnings = json.loads((run / "metrics.json").read_text())["engines"]["emulated"]["warnings"]
    assert any(each.startswith("emulated: a real server and driver") for each in warnings)
    assert left_behind(run) == []


def test_a_bound_of_virtual_time_is_an_incomplete_run_that_keeps_what_there_is(
    tmp_path: Path,
) -> None:
    bounded = {**ENGINE, "max_virtual_time_s": 0.5}
    spec = workload(model="llama-3-8b", engines={"bounded": bounded, "whole": ENGINE})
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec))
    assert code == 4, out + err
    assert "max_virtual_time_s 0.5 was reached" in out + err
    metrics = json.loads((only_run(tmp_path) / "metrics.json").read_text())["engines"]
    assert metrics["bounded"]["status"] == "failed"
    assert 0 < metrics["bounded"]["counts"]["recorded"] < 12
    assert metrics["whole"]["status"] == "complete"


def test_engines_that_get_different_numbers_of_conversations_done_in_a_time_are_compared(
    tmp_path: Path,
) -> None:
    """Nobody is held to account for what was not begun, and users who were not asked are in no
    share. Of one of the engines the plan is played for the same time over a socket."""
    conversations = {
        "source": "fixed", "duration": "2s", "count": 400, "turns": 2, "prompt_tokens": 50,
        "output_tokens": 12,
    }  # fmt: skip
    spec = workload(
        model="llama-3-8b",
        conversations=conversations,
        arrivals={"process": "closed", "concurrency": 4},
        engines={
            "quick": ENGINE,
            "slow": {**ENGINE, "max_num_seqs": 1},
            "wall": {**ENGINE, "time": "wall"},
        },
        baseline="quick",
        repeats=1,
    )
    code, out, err = finish(start(["run", "w.yaml", "--workers", "2"], tmp_path, spec))
    assert code == 0, out + err
    run = only_run(tmp_path)
    engines = json.loads((run / "metrics.json").read_text())["engines"]
    num_recorded = {}
    for name, each in engines.items():
        turns = read_turns(run / name / "1" / "turns.parquet")
        counts = each["counts"]
        assert (each["status"], counts["failed"], counts["lost"]) == ("complete", 0, 0)
        assert counts["planned"] == 800 == counts["recorded"] + counts["not_begun"]
        assert 0 < counts["recorded"] == len(turns)
        assert each["slo"]["num_users"] == len({turn.user_id for turn in turns})
        assert each["not_asked"] == {"after_failure": 0, "not_due": 0, "cut_short": 0}
        assert not [line for line in each["warnings"] if "not asked" in line or "record" in line]
        num_recorded[name] = counts["recorded"]
    assert num_recorded["slow"] < num_recorded["quick"]
    assert "not begun, as planned" in out
    code, out, err = finish(
        start(["export", str(run), "--format", "csv", "--out", "turns.csv"], tmp_path)
    )
    assert code == 0, out + err


def test_what_a_killed_run_had_measured_is_reported_afterwards(tmp_path: Path) -> None:
    turns = {"source": "fixed", "count": 900, "turns": 4, "prompt_tokens": 8, "output_tokens": 99}
    arrivals = {"process": "constant", "rate": 1.0}
    spec = workload(model="llama-3-8b", conversations=turns, arrivals=arrivals)
    process = start(["run", "w.yaml"], tmp_path, {**spec, "engines": {"killed": ENGINE}})
    wait_for_turns(process, tmp_path)
    process.kill()
    finish(process)
    run = only_run(tmp_path)
    code, out, err = finish(start(["report", str(run)], tmp_path))
    assert code == 0, out + err
    metrics = json.loads((run / "metrics.json").read_text())["engines"]["killed"]
    assert metrics["status"] == "interrupted"
    assert 0 < metrics["counts"]["recorded"] < metrics["counts"]["planned"] == 3600
    assert any("fsbench itself was killed" in each for each in metrics["warnings"])


def test_a_workload_of_another_model_is_refused_in_one_line(tmp_path: Path) -> None:
    spec = workload(engines={"simulated": ENGINE})
    code, _, err = finish(start(["run", "w.yaml"], tmp_path, spec))
    assert code == 2 and err.count("\n") == 1
    assert "engines.simulated: profile a10-llama3-8b is a profile for another model" in err
