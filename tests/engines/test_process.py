"""Children end: told, stubborn, forking, or orphaned."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from engines.errors import EngineError, EngineInputError
from engines.process import ChildProcess, child_process
from tests.processes import is_running


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def wait_for(condition: Callable[[], bool], what: str) -> None:
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.05)
    pytest.fail(f"waited in vain: {what}")


def test_a_child_that_dies_in_start_up_is_told_with_its_last_line(tmp_path: Path) -> None:
    code = "import sys; print('loading'); print('no weights in x', file=sys.stderr); sys.exit(1)"
    with (
        pytest.raises(EngineError, match=r"died during start-up, ended with exit"),
        child_process(python(code), log=tmp_path / "log") as child,
    ):
        child.wait_until(lambda: False, timeout_s=240)
    assert "no weights in x" in (tmp_path / "log").read_text()


def test_exit_status_two_means_the_settings_can_not_work(tmp_path: Path) -> None:
    code = "import sys; print('kv_tokens is too small'); sys.exit(2)"
    with (
        pytest.raises(EngineInputError, match=r"^kv_tokens is too small$"),
        child_process(python(code), log=tmp_path / "log") as child,
    ):
        child.wait_until(lambda: False, timeout_s=240)


def test_a_child_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    code = "import time; time.sleep(600)"
    with (
        pytest.raises(EngineError, match=r"was not ready within 0 s"),
        child_process(python(code), log=tmp_path / "log") as child,
    ):
        child.wait_until(lambda: False, timeout_s=0.2)
    assert not is_running(child.pid)


def test_stop_ends_the_whole_group_even_where_it_ignores_sigterm(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = os.fork()
open({str(pids)!r}, "a").write(f"{{os.getpid()}}\\n")
time.sleep(600)
"""
    child = ChildProcess(python(code), log=tmp_path / "log", env=None, grace_s=0.3)
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 2, "both started")
    child.stop()
    wait_for(lambda: not any(is_running(int(pid)) for pid in pids.read_text().split()), "both gone")


def test_a_child_with_a_lifeline_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    child_code = (
        "import time; from engines.process import end_with_parent; "
        "end_with_parent(); time.sleep(600)"
    )
    pid_file = tmp_path / "pid"
    parent_code = f"""
import sys, time
from pathlib import Path
from engines.process import ChildProcess
log = Path({str(tmp_path / "log")!r})
child = ChildProcess([sys.executable, "-c", {child_code!r}], log=log, env=None)
Path({str(pid_file)!r}).write_text(str(child.pid))
time.sleep(600)
"""
    with subprocess.Popen(python(parent_code)) as parent:
        wait_for(lambda: pid_file.exists() and bool(pid_file.read_text()), "the child started")
        pid = int(pid_file.read_text())
        assert is_running(pid)
        os.kill(parent.pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid), "the orphan ended")
