"""The errors that a user can meet, by root, and the exit code that the command line makes of them.

    InputError              2   what was given: workloads/errors.py
    ├── WorkloadError           ├── TraceError and PlanFileError
    ├── GateError               a gate's words: judging/gate_syntax.py
    ├── CompareError            runs that can not be held against each other: judging/
    ├── BaselineError           a stored baseline: judging/stored_baselines.py
    ├── ExportError             what is asked for is not in the run: measuring/export.py
    └── CutError                warm-up and drain leave nothing: measuring/window.py
    EngineInputError        2   an engine's settings: engines/errors.py
    EngineError             4   an engine that did not start, or died: engines/errors.py
    RunDirectoryError       2   a run's directory that can not be read: here
    RunError                4   a run that could not be completed: here
    ├── CalibrationError        driver/calibrate.py
    └── OpenFilesError          too few for the plan: driver/open_files.py

Anything else that reaches the command line is a defect of fsbench, and is told as one.
"""

from __future__ import annotations


class RunDirectoryError(Exception):
    """A run's directory can not be read or measured. One line, with its path."""


class RunError(Exception):
    """Something could not be completed; what was measured is kept. One line."""
