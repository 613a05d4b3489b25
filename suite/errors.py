"""What can go wrong for the user; the CLI prints it as one line."""

from __future__ import annotations


class InputError(Exception):
    """A mistake in what was given: exit code 2. One line: where, what, got what, what to do."""


class RunError(Exception):
    """Something could not be completed: exit code 4. One line."""
