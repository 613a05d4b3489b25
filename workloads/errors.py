"""What can be wrong with a workload, its trace or its plan: always the user's to mend."""

from __future__ import annotations


class WorkloadError(Exception):
    """A workload file or value can not be used. One line: where, what, what was got, what to do."""


class TraceError(WorkloadError):
    """A trace is missing or malformed. One line, with file and line number where there is one."""


class PlanFileError(WorkloadError):
    """A plan file is missing, damaged, or of another version."""
