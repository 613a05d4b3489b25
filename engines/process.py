"""A child process that leaves nothing behind: its own group, a log, a lifeline, a bounded end.

The child's standard input is the lifeline: when its parent is gone, however it went, the pipe
closes; a child that watches it (`end_with_parent`) then ends by itself. A program that is not ours
watches nothing; `with_keeper` puts a keeper before it that does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from engines.errors import EngineError, EngineInputError

POLL_S = 0.05
GRACE_S = 10.0  # from SIGTERM to SIGKILL
KEEPER_MARGIN_S = 5.0  # a keeper is given this much more than what it keeps
TAIL_BYTES = 65_536  # of a log, looked at for its last words
MAX_WORDS_CHARS = 400
INPUT_ERROR = 2  # a child's exit status when its settings can not work


class ChildProcess:
    def __init__(
        self,
        argv: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None,
        grace_s: float = GRACE_S,
        why: Callable[[Sequence[str]], str] = lambda lines: lines[-1],
    ) -> None:
        """Starts the command. `why` chooses, from the last lines of its log that say something,
        what to tell of it."""
        self.log = log
        self._grace_s = grace_s
        self._why = why
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=None if env is None else {**os.environ, **env},
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def death_note(self) -> str:
        """Returns how it ended, with the last thing it said. One line."""
        status = self._process.poll()
        how = f"exit status {status}"
        if status is not None and status < 0:
            how = f"signal {signal.Signals(-status).name}"
        return f"ended with {how}: {self.last_words()} (log: {self.log})"

    def last_words(self) -> str:
        """Returns what to tell of the last lines of its log: one line of bounded length."""
        said = self.last_lines()
        return self._why(said)[:MAX_WORDS_CHARS] if said else "it said nothing"

    def last_lines(self) -> list[str]:
        """Returns the last lines of its log that say something."""
        with self.log.open("rb") as log:  # a log may have grown to gigabytes
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - TAIL_BYTES))
            tail = log.read().decode(errors="replace")
        lines = [" ".join(line.split()) for line in tail.splitlines()]
        return [line for line in lines if line]

    def wait_until(self, is_ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Raises EngineInputError or EngineError when it dies first, or takes too long."""
        deadline = time.monotonic() + timeout_s
        while not is_ready():
            if not self.is_alive():
                if self._process.returncode == INPUT_ERROR:
                    raise EngineInputError(self.last_words())
                raise EngineError(f"died during start-up, {self.death_note()}")
            if time.monotonic() > deadline:
                raise EngineError(f"was not ready within {timeout_s:.0f} s; see {self.log}")
            time.sleep(POLL_S)

    def stop(self) -> None:
        """Sends SIGTERM to the group, SIGKILL after the grace; returns when all of the group is
        gone."""
        self._signal_group(signal.SIGTERM)
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self._signal_group(signal.SIGKILL)  # workers that outlived their parent
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()

    def _signal_group(self, number: signal.Signals) -> None:
        signal_group(self._process.pid, number)


def signal_group(pid: int, number: signal.Signals) -> None:
    """Sends the signal to all of the process group `pid`, its leader gone or not; a group gone is
    no error."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


@contextmanager
def child_process(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
) -> Iterator[ChildProcess]:
    child = ChildProcess(argv, log=log, env=env)
    try:
        yield child
    finally:
        child.stop()


def with_keeper(argv: Sequence[str], *, grace_s: float = GRACE_S) -> list[str]:
    """Returns the command with a keeper before it; give the child itself KEEPER_MARGIN_S more
    grace."""
    keeper = Path(__file__).resolve().with_name("keeper.py")
    return [sys.executable, "-I", str(keeper), str(grace_s), *argv]


def end_with_parent() -> None:
    """Makes this process, a child, send itself SIGTERM when the lifeline closes."""

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="lifeline", daemon=True).start()
