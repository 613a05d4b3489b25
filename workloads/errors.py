"""What can be wrong with what the user gave: a file, a value, an option. Always exit code 2.

InputError
└── WorkloadError        a workload file or a value in it
    ├── TraceError       a trace that it names
    └── PlanFileError    a plan file

suite/errors.py draws the whole tree.
"""

from __future__ import annotations


class InputError(Exception):
    """A mistake in what was given. One line: where, what, what was got, what to do."""


class WorkloadError(InputError):
    """A workload file or value can not be used."""


class TraceError(WorkloadError):
    """A trace is missing or malformed. One line, with file and line number where there is one."""


class PlanFileError(WorkloadError):
    """A plan file is missing, damaged, or of another version."""
