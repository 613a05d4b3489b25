"""The findings of `fsbench doctor`: is this a place where a measurement can be trusted?"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from engines.extras import install_command
from suite.playing import environment

# Since Linux 2.6.30; Python has no name for it.
SO_TIMESTAMPNS = 35


def examine() -> Iterator[str]:
    """Yields one line a finding, the good ones too."""
    machine = environment.machine()
    yield f"machine: {machine['cpu_model']}, {machine['num_usable_cpus']} cores, " + (
        f"{machine['memory_bytes'] / 1024**3:.0f} GiB, {machine['system']}"
    )
    for name, version in environment.versions().items():
        yield f"version: {name} {version}"
    yield _embedded_engine()
    yield _kernel_stamps()
    yield _load(machine["num_usable_cpus"])


def _embedded_engine() -> str:
    if find_spec("torch") is None:
        return f"engine:  no torch; kind fastswitch needs it: {install_command('engine')}"
    return "engine:  torch is installed, kind fastswitch can run"


def _kernel_stamps() -> str:
    if sys.platform != "linux":
        return (
            "stamps:  no kernel receive timestamps on this system; the driver stamps in user space"
        )
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError as error:
        return f"stamps:  kernel receive timestamps are refused ({error}); user space stamps it is"
    return "stamps:  kernel receive timestamps are available"


def _load(num_cpus: int) -> str:
    load = os.getloadavg()[0]
    if load > 0.5 * num_cpus:
        return f"load:    {load:.1f} on {num_cpus} cores; end other work before you measure"
    return f"load:    {load:.1f} on {num_cpus} cores, quiet enough"
