"""What a user can get wrong before or at the start: one line, the right exit code, nothing left."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from suite.cli import app

WORKLOAD: dict[str, Any] = {
    "name": "small",
    "seed": 1,
    "model": "tiny-llama",
    "conversations": {
        "source": "fixed",
        "count": 2,
        "turns": 1,
        "prompt_tokens": 8,
        "output_tokens": 4,
    },
    "arrivals": {"process": "constant", "rate": 10.0},
    "users": {"all": {"share": 1.0, "slo": {"ttft": "1s", "tbt": "1s", "attainment": 0.9}}},
    "engines": {"a": {"kind": "fastswitch", "kv_tokens": 1024, "swap_tokens": 1024}},
}


@pytest.fixture
def fsbench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Any:
    """Run the command in this process, in an empty folder; (exit code, what went to stderr)."""

    def call(*arguments: str) -> tuple[int, str]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["fsbench", *arguments])
        with pytest.raises(SystemExit) as caught:
            app()
        assert isinstance(caught.value.code, int)
        return caught.value.code, capsys.readouterr().err

    return call


def write(path: Path, changes: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump({**WORKLOAD, **changes}))


USERS = WORKLOAD["users"]
SLO = USERS["all"]["slo"]
ENGINE = WORKLOAD["engines"]["a"]


LONG = {**WORKLOAD["conversations"], "turns": 4}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"arivals": {}}, "w.yaml: arivals is unknown; did you mean arrivals?"),
        (
            {"arrivals": {"process": "poisson", "rate": -1.0}},
            "w.yaml: arrivals.rate must be > 0, got -1.0",
        ),
        (
            {"users": {"all": {"share": 1.0, "slo": {**SLO, "ttft": 2}}}},
            "w.yaml: users.all.slo.ttft",
        ),
        (
            {"engines": {"a": {"kind": "vlm"}}},
            "w.yaml: engines.a: kind 'vlm' is unknown; did you mean vllm? Choose one of: "
            "fastswitch, simulated, vllm, openai",
        ),
        (
            {"conversations": {"trace": "sharegpt", "path": "no.csv.gz"}},
            "no.csv.gz",
        ),
        (
            {"engines": {"a": {**ENGINE, "swap_tokens": 0}}},
            "w.yaml: engines.a.swap_tokens must be > 0 with preemption: swap, got 0",
        ),
        (
            {"engines": {"a": {**ENGINE, "kv_token": 5}}},
            "w.yaml: engines.a.kv_token is unknown; did you mean kv_tokens?",
        ),
        (
            {"engines": {"a": {**ENGINE, "preset": "vllm-0.2"}}},
            "w.yaml: engines.a.preset 'vllm-0.2' is unknown; choose one of: vllm-0.3",
        ),
        (
            {"engines": {"a": {"kind": "openai", "base_url": "127.0.0.1:8000/v1"}}},
            "engines.a.base_url must be written like http://127.0.0.1:8000/v1, got '127.0.0.1:80",
        ),
        (
            {"engines": {"a": {"kind": "openai", "base_url": "http://h/v1/chat/completions/"}}},
            "engines.a.base_url must be what stands before an endpoint's name, got "
            "'http://h/v1/chat/completions/'; write http://h/v1",
        ),
        ({"gates": ["ttft.p98 <= 1s"]}, "gate 'ttft.p98 <= 1s'"),
        ({"gates": ["ttft.p99 <= 1"]}, "gate 'ttft.p99 <= 1'"),
        ({"baseline": "b"}, "baseline"),
        (
            {"measure": {"warm_up": "1h"}},
            "w.yaml: measure: warm_up 1h and drain 0.0 leave none of the",
        ),
        (
            {"engines": {"a": {**ENGINE, "zzz": 1}}},
            "engines.a.zzz is unknown; write one of: kind, preset, allocator, layout, copy, swap,",
        ),
        (
            {
                "engines": {"a": {**ENGINE, "kv_tokens": 16, "max_num_seqs": 4}},
                "conversations": LONG,
            },
            "w.yaml: engines.a.kv_tokens must be >= 48, the plan's longest turn with its history, "
            "got 16; raise it, or set conversations.max_context_tokens",
        ),
    ],
)
def test_a_workload_that_can_not_work_is_refused_in_one_line(
    fsbench: Any, tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    write(tmp_path / "w.yaml", changes)
    code, message = fsbench("run", "w.yaml")
    assert code == 2
    assert expected in message
    assert message.startswith("fsbench: ")
    assert message.count("\n") == 1
    assert not (tmp_path / "runs").exists()


def test_a_missing_workload_file_is_named(fsbench: Any) -> None:
    assert fsbench("run", "no.yaml") == (2, "fsbench: no.yaml: no such workload file\n")


def test_a_folder_that_is_no_run_is_named(fsbench: Any, tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    code, message = fsbench("report", "x")
    assert code == 2
    assert "x: is not a run directory, manifest.json is missing" in message


def test_a_sweeps_folder_is_no_run_and_says_where_its_runs_are(
    fsbench: Any, tmp_path: Path
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text("{}")
    expected = "fsbench: s: is a sweep; name one of its runs: s/cells/CELL\n"
    for command in ("gate", "trace"):
        assert fsbench(command, "s") == (2, expected)
    code, message = fsbench("view", "s")
    assert code == 2
    assert "fsbench report s/cells/CELL that of a cell" in message


def test_a_file_that_can_not_be_written_is_named(fsbench: Any, tmp_path: Path) -> None:
    write(tmp_path / "w.yaml", {})
    (tmp_path / "taken.parquet").mkdir()
    code, message = fsbench("plan", "w.yaml", "--out", "taken.parquet")
    assert code == 2
    assert message.startswith("fsbench: ") and "taken.parquet" in message
    assert message.count("\n") == 1


def test_a_model_folder_without_weights_ends_the_run_before_anything_is_measured(
    fsbench: Any, tmp_path: Path
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    write(tmp_path / "w.yaml", {"model": "model"})
    before = set(psutil.Process().children(recursive=True))
    code, message = fsbench("run", "w.yaml")
    assert code == 2
    assert "a: model: has no weights" in " ".join(message.split())
    assert "Traceback" not in message
    assert set(psutil.Process().children(recursive=True)) <= before


def test_a_busy_port_is_told_by_serve(fsbench: Any, tmp_path: Path) -> None:
    import subprocess

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "suite.cli", "serve", "tiny-llama", "--port", str(port)],
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert f"127.0.0.1:{port}: address already in use" in done.stderr
    assert done.stderr.count("\n") == 1


def test_serving_beyond_loopback_demands_a_key() -> None:
    import subprocess

    done = subprocess.run(
        [sys.executable, "-m", "suite.cli", "serve", "tiny-llama", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--api-key" in done.stderr


def test_an_output_folder_that_is_a_file_is_told_in_one_line(fsbench: Any, tmp_path: Path) -> None:
    (tmp_path / "afile").write_text("")
    write(tmp_path / "w.yaml", {})
    code, message = fsbench("run", "w.yaml", "--out", "afile")
    assert code == 2
    assert message.splitlines()[-1].startswith("fsbench: afile")
    assert "Traceback" not in message
