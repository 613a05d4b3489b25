"""A server that starts, dies, hangs or floods its log: told in one line, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engines.api import PriorityUpdates, RunningEngine
from engines.arrow_log import read_arrow_logs
from engines.errors import EngineError, EngineInputError
from engines.vllm.command import find_executable
from engines.vllm.settings import VllmSettings
from tests.engines.vllm.conftest import FakeVllm

Make = Callable[..., FakeVllm]


@contextmanager
def running(fake: FakeVllm, **changes: object) -> Iterator[RunningEngine]:
    settings = VllmSettings.model_validate({**fake.settings, **changes})
    directory = fake.directory / "part"
    directory.mkdir()
    trace = PriorityUpdates(
        update_frequency=0.5,
        conversation_ids=["c0", "c1"],
        levels=np.array([[0, 1], [1, 0]], dtype=np.uint8),
    )
    with settings.resolve(None).running(name="v", directory=directory, priorities=trace) as engine:
        yield engine


def test_it_starts_is_warm_says_what_it_is_and_ends_with_its_worker(fake_vllm: Make) -> None:
    fake = fake_vllm("starts_slowly")
    with running(fake, prefix_caching=False, args={"enforce-eager": True}) as engine:
        assert engine.is_alive()
        assert engine.version == (
            "vLLM 0.0.fake: stock scheduler, fcfs, prefix caching off, float32, enforce-eager: True"
        )
        assert engine.endpoint.model == "tiny"
        assert (engine.endpoint.takes_priority, engine.endpoint.names_conversation) == (0, 0)
    fake.check_nothing_is_left()
    assert len(fake.bodies()) == 2  # warm-up
    assert {body["model"] for body in fake.bodies()} == {"tiny"}


def test_the_pool_has_the_tokens_asked_for_and_one_block_that_vllm_keeps(fake_vllm: Make) -> None:
    fake = fake_vllm()
    with running(fake):
        given = fake.arguments()
    flags = dict(pairwise(given))
    assert given[:2] == ["serve", str(fake.directory / "tiny")]
    assert (flags["--num-gpu-blocks-override"], flags["--block-size"]) == ("33", "32")
    assert flags["--max-model-len"] == "512"  # the model's; the pool would hold 1024
    assert "--enable-prefix-caching" in given
    assert "--scheduler-cls" not in given


def test_the_plug_in_is_given_the_trace_and_told_the_conversations(fake_vllm: Make) -> None:
    fake = fake_vllm()
    with running(fake, scheduling="trace") as engine:
        flags = dict(pairwise(fake.arguments()))
        assert flags["--scheduler-cls"] == "fsbench_vllm.scheduler.TraceScheduler"
        assert flags["--scheduling-policy"] == "priority"
        assert engine.endpoint.names_conversation
        assert (fake.directory / "part/priorities.npz").exists()
    fake.check_nothing_is_left()


def test_a_policy_comes_by_the_plug_in_and_hears_who_asks(fake_vllm: Make) -> None:
    fake = fake_vllm()
    with running(fake, policy={"name": "slo"}) as engine:
        flags = dict(pairwise(fake.arguments()))
        assert flags["--scheduler-cls"] == "fsbench_vllm.policy_scheduler.PolicyScheduler"
        assert flags["--scheduling-policy"] == "priority"
        assert engine.endpoint.names_conversation and engine.endpoint.takes_terms
        assert (fake.directory / "part/priorities.npz").exists()  # which `priority` goes by
    fake.check_nothing_is_left()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            "dies_at_start",
            "died during start-up, ended with exit status 1: ValueError: 3 blocks are too few (log",
        ),
        ("dies_at_start_by_signal", "ended with signal SIGSEGV: it said nothing"),
        ("refuses_warm_up", "the warm-up request failed (POST /v1/completions: 500"),
    ],
)
def test_a_server_that_does_not_get_up_is_told_in_one_line(
    fake_vllm: Make, fault: str, message: str
) -> None:
    fake = fake_vllm(fault)
    with pytest.raises(EngineError) as caught, running(fake):
        pass
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    fake.check_nothing_is_left()


@pytest.mark.parametrize("fault", ["never_gets_ready", "is_not_ours"])
def test_a_server_that_never_gets_ready_is_given_up(fake_vllm: Make, fault: str) -> None:
    fake = fake_vllm(fault)
    with (
        pytest.raises(EngineError, match=r"was not ready within 1 s"),
        running(fake, start_timeout_s=0.6),
    ):
        pass
    fake.check_nothing_is_left(at_least=0)


def test_a_server_that_waits_for_its_dead_core_is_given_up(
    fake_vllm: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engines.vllm.server.CORE_DEATH_GRACE_S", 0.2)
    fake = fake_vllm("hangs_after_its_core_died")
    with (
        pytest.raises(EngineError, match="hangs since its core did not start: ValueError: no room"),
        running(fake),
    ):
        pass
    fake.check_nothing_is_left()


def test_offloading_on_a_cpu_build_is_refused_at_once(fake_vllm: Make, tmp_path: Path) -> None:
    fake = fake_vllm()
    (tmp_path / "bin").mkdir()
    (tmp_path / "lib/python3.11/site-packages/vllm-0.32.0+cpu.dist-info").mkdir(parents=True)
    program = (tmp_path / "vllm").rename(tmp_path / "bin/vllm")
    with (
        pytest.raises(EngineInputError, match="is a CPU build of vLLM"),
        running(fake, executable=str(program), kv_offload_gib=1.0),
    ):
        pass
    assert fake.pids == []


def test_a_port_that_somebody_took_first_is_another_try(fake_vllm: Make) -> None:
    fake = fake_vllm("finds_its_port_taken")
    with running(fake) as engine:
        assert engine.is_alive()
    assert len(fake.pids) == 4
    fake.check_nothing_is_left()


def test_a_server_that_hangs_at_shutdown_is_killed(fake_vllm: Make) -> None:
    fake = fake_vllm("hangs_at_shutdown")
    with running(fake) as engine:
        assert engine.is_alive()
    fake.check_nothing_is_left()


def test_a_flood_of_words_neither_blocks_it_nor_floods_the_message(fake_vllm: Make) -> None:
    fake = fake_vllm("floods_its_log")
    with running(fake) as engine:
        assert (fake.directory / "part/engine.log").stat().st_size > 20_000_000
        os.kill(fake.pids[0], signal.SIGKILL)
        for _ in range(3000):
            if not engine.is_alive():
                break
            time.sleep(0.02)
        note = engine.death_note()
    assert note.startswith("ended with signal SIGKILL: ")
    assert len(note) < 1000
    fake.check_nothing_is_left()


def test_what_it_tells_before_during_and_after_is_kept(fake_vllm: Make) -> None:
    with running(fake := fake_vllm()):
        log = fake.directory / "part/server_metrics.arrows"
        while len(read_arrow_logs([log])) < 2:
            time.sleep(0.05)
    rows = read_arrow_logs([log]).to_pylist()
    assert len(rows) >= 3
    assert (rows[0]["num_running"], rows[0]["kv_usage_ratio"]) == (1, 0.5)
    assert (rows[0]["num_preemptions"], rows[0]["num_queried_tokens"]) == (7, 100)
    assert rows[0]["num_waiting"] is rows[0]["num_steps"] is None  # not told is not zero


def test_nothing_is_left_when_the_suite_itself_is_killed(fake_vllm: Make) -> None:
    fake = fake_vllm("hangs_at_shutdown")
    code = f"""
import json, sys, time
from pathlib import Path
from engines.vllm.settings import VllmSettings
settings = VllmSettings.model_validate(json.loads(sys.argv[1]))
directory = Path({str(fake.directory)!r})
with settings.resolve(None).running(name="v", directory=directory, priorities=None):
    print("up", flush=True)
    time.sleep(600)
"""
    command = [sys.executable, "-c", code, json.dumps(fake.settings)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as suite:
        assert suite.stdout is not None
        assert suite.stdout.readline() == b"up\n"
        suite.kill()
    fake.check_nothing_is_left()


def test_no_vllm_at_all_says_how_to_get_one(
    fake_vllm: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = fake_vllm()
    with (
        pytest.raises(EngineInputError, match="is no program that can be started"),
        running(fake, executable=str(tmp_path / "none")),
    ):
        pass
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FSBENCH_VLLM", raising=False)
    monkeypatch.setattr("engines.vllm.command._BESIDE_THE_PROJECT", tmp_path / "none")
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin/python"))
    (fake.directory / "part").rmdir()
    with pytest.raises(EngineInputError, match="run `make vllm`"), running(fake, executable=None):
        pass


def test_a_vllm_that_was_installed_with_fsbench_is_found_though_no_path_leads_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`pip install '.[vllm]'`, and `.venv/bin/fsbench` called by its path."""
    program = tmp_path / "bin/vllm"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("FSBENCH_VLLM", raising=False)
    monkeypatch.setattr("engines.vllm.command._BESIDE_THE_PROJECT", tmp_path / "none")
    monkeypatch.setattr("sys.executable", str(tmp_path / "bin/python"))
    assert find_executable(None) == program
