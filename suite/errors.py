"""Mistakes in what the user gave; the CLI prints them as one line and exits with 2."""

from __future__ import annotations


class InputError(Exception):
    """One line: where, what, what was got, what to do."""
