"""Keeps a program that knows nothing of its parent: ends it, and all it started, with the parent.

Run as a file, `python -I keeper.py GRACE_S COMMAND …`: it may not lean on the project, whose paths
are not the program's. When the command has ended, on SIGTERM, or when standard input (the lifeline)
closes, every process that came from the command is told to end (SIGTERM) and killed after the
grace, which those whose command has ended by itself do not get; also those that left the process
group or lost their own parent, for orphans come to a subreaper. The exit status is the command's.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import sys
import time

import psutil

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
COMMAND_NOT_STARTED = 127
POLL_S = 0.02


def main(argv: list[str]) -> int:
    grace_s, command = float(argv[1]), argv[2:]
    _adopt_orphans()
    wake_fd = _wake_on_signals()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    except OSError as error:
        print(f"{command[0]}: {(error.strerror or str(error)).lower()}", file=sys.stderr)
        return COMMAND_NOT_STARTED
    while child.poll() is None and not _is_told_to_end(wake_fd):
        pass
    has_ended_by_itself = child.poll() is not None
    _end_descendants(0.0 if has_ended_by_itself else grace_s)
    return child.wait()


def _adopt_orphans() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _wake_on_signals() -> int:
    """Returns a descriptor that gives a byte, its number, for each SIGTERM and each child's end."""
    read_fd, write_fd = os.pipe()
    os.set_blocking(write_fd, False)
    signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    return read_fd


def _is_told_to_end(wake_fd: int) -> bool:
    """Waits for a signal or the lifeline's end."""
    ready, _, _ = select.select([sys.stdin.fileno(), wake_fd], [], [])
    if wake_fd in ready and signal.SIGTERM in os.read(wake_fd, 4096):
        return True
    return sys.stdin.fileno() in ready and not os.read(sys.stdin.fileno(), 4096)


def _end_descendants(grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    _signal(_living(), signal.SIGTERM)
    while _living() and time.monotonic() < deadline:
        time.sleep(POLL_S)
    while living := _living():  # anew: one that was just being forked is in no earlier list
        _signal(living, signal.SIGKILL)
        time.sleep(POLL_S)


def _living() -> list[psutil.Process]:
    living = []
    for process in psutil.Process().children(recursive=True):
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                living.append(process)
        except psutil.NoSuchProcess:
            continue
    return living


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue


def _end_as(status: int) -> int:
    """Returns the command's exit status; where a signal ended it, ends by the same."""
    if status < 0:
        if -status != signal.SIGKILL:  # which no handler can be set for
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    sys.exit(_end_as(main(sys.argv)))
