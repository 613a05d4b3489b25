"""`fsbench run URL`: from a server that runs to a report in one command, and what it says else."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from engines.vllm.server import free_port
from suite.records.run_directory import Manifest
from tests.end_to_end.command import ENVIRONMENT, FSBENCH, finish, only_run, start
from tests.end_to_end.scripted_engine import running_scripted_engine
from tests.engines.test_openai import models, server

SMALL = (
    "--set=conversations.count=5",
    "--set=conversations.max_turns=2",
    "--set=conversations.length_scale=0.02",
    "--set=think_time={distribution: constant, value: 10ms}",
)
START_TIMEOUT_S = 240


@contextmanager
def served_embedded_engine(directory: Path) -> Iterator[int]:
    """The port of a real `fsbench serve`, a process of its own."""
    port = free_port()
    with (directory / "serve.log").open("w") as log:
        command = [*FSBENCH, "serve", "tiny-llama", "--port", str(port)]
        process = subprocess.Popen(command, env=ENVIRONMENT, cwd=directory, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _is_healthy(port):
            said = (directory / "serve.log").read_text()
            assert process.poll() is None and time.monotonic() < deadline, said
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(60)


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
            return True
    except OSError:
        return False


def test_a_server_is_measured_by_its_address_alone_and_the_written_file_plays_the_same(
    tmp_path: Path,
) -> None:
    with served_embedded_engine(tmp_path) as port:
        url = f"http://127.0.0.1:{port}/v1"
        code, out, err = finish(start(["run", f"127.0.0.1:{port}", *SMALL], tmp_path))
        assert code == 0, out + err
        run = only_run(tmp_path)
        assert f"{url} serves tiny-llama" in err
        assert f"fsbench init {url}" in err
        assert (run / "report.html").exists() and str(run.name) in out
        manifest = Manifest.read(run)
        assert [trial.counts.failed for trial in manifest.trials] == [0]
        assert finish(start(["init", url, "--out", "mine.yaml"], tmp_path))[0] == 0
        code, out, err = finish(start(["run", "mine.yaml", *SMALL, "--out", "again"], tmp_path))
    assert code == 0, out + err
    (again,) = (tmp_path / "again").iterdir()
    assert Manifest.read(again).plan_digest == manifest.plan_digest


def test_the_default_workload_measures_what_a_scripted_server_does(tmp_path: Path) -> None:
    """Any time from 0.3 s on is right on a busy machine, none before it."""
    script = "--set=engines.server.extra_body={script: {first_after_s: 0.3, gap_s: 0.001}}"
    with running_scripted_engine(tmp_path) as port:
        arguments = ["run", f"http://127.0.0.1:{port}/", *SMALL, script, "--engine", "server"]
        code, out, err = finish(start(arguments, tmp_path))
    assert code == 0, out + err
    engine = json.loads((only_run(tmp_path) / "metrics.json").read_text())["engines"]["server"]
    assert engine["ttft_s"]["p50"] >= 0.295
    assert engine["counts"]["failed"] == 0
    assert engine["counts"]["recorded"] == engine["counts"]["planned"]


@pytest.mark.parametrize(
    ("status", "names", "exit_code", "says"),
    [
        (404, (), 4, "answers 404 Not Found; engines.server.base_url mostly ends in /v1"),
        (401, (), 2, "it wants a key: export it in an environment variable and name that"),
        (200, ("a", "b"), 2, "lists 2 models; set engines.server.model to one of: a, b"),
        (200, (), 2, "lists no models; set engines.server.model"),
    ],
)
def test_a_server_that_can_not_be_asked_is_told_before_anything_is_left(
    status: int, names: tuple[str, ...], exit_code: int, says: str, tmp_path: Path
) -> None:
    with server(status, models(*names), []) as url:
        code, out, err = finish(start(["run", url], tmp_path))
    assert (code, out) == (exit_code, "")
    assert says in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_nobody_listening_is_told_in_one_line(tmp_path: Path) -> None:
    code, out, err = finish(start(["run", f"http://127.0.0.1:{free_port()}/v1"], tmp_path))
    assert (code, out) == (4, "")
    assert "(Connection refused); start the server or mend engines.server.base_url" in err
    assert err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "server.yaml").write_text("mine\n")
    code, _, err = finish(start(["init"], tmp_path))
    assert (code, err) == (2, "fsbench: server.yaml: exists; name another file with --out\n")
    assert (tmp_path / "server.yaml").read_text() == "mine\n"
    code, _, err = finish(start(["init", "not-a-url"], tmp_path))
    assert (code, err.count("\n")) == (2, 1) and "must be a URL like" in err
