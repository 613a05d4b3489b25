"""What can go wrong with an engine. Two roots, since two different people have to act:

EngineError        the engine could not be started, or died              exit code 4
EngineInputError   its settings can not work: the user's to mend         exit code 2

suite/errors.py draws the whole tree.
"""

from __future__ import annotations


class EngineError(Exception):
    """An engine could not be started, or died. The message is one line: where, what, what to do."""


class EngineInputError(Exception):
    """The settings can not work (wrong folder, pool too small, busy port). One line, as above."""
