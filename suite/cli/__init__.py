"""`fsbench`: the commands, a module for each thing they work on.

Nothing heavy is imported up here, so that `--help` answers at once; a command imports what it
needs.
"""

from suite.cli import (
    attaching,
    capacity,
    doctoring,
    judging,
    machine,
    model,
    planning,
    profiling,
    reading,
    running,
    serving,
    sweeping,
    training,
)
from suite.cli.app import app

__all__ = [
    "app",
    "attaching",
    "capacity",
    "doctoring",
    "judging",
    "machine",
    "model",
    "planning",
    "profiling",
    "reading",
    "running",
    "serving",
    "sweeping",
    "training",
]
