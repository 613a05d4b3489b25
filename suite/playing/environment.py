"""What ran where: commit, versions and the machine, for the manifest and for `fsbench doctor`."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

CHECKOUT = Path(__file__).parents[2]
PACKAGES = (
    "fsbench",
    "locust",
    "gevent",
    "aiohttp",
    "uvloop",
    "numpy",
    "pyarrow",
    "torch",
    "tokenizers",
)


def versions() -> dict[str, str]:
    """Returns the versions of Python and of the installed packages that can move a measurement."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def commit() -> str | None:
    """Returns the commit of the checkout that this code lies in, with a + where files differ from
    it.

    None where it is installed as a package, even inside somebody else's checkout, and without git.
    """
    if not (CHECKOUT / ".git").exists():
        return None
    command = ["git", "--no-optional-locks", "describe"]
    command += ["--always", "--abbrev=12", "--dirty=+", "--exclude=*"]
    try:
        done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, Any]:
    """Returns what the machine is; sizes in bytes, the load in runnable processes over a minute."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu_model": _cpu_model(),
        "num_usable_cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")),
        "unknown",
    )
