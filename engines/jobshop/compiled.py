"""Numba's compiler for the inner loops, typed so that mypy still sees the functions themselves.

What is compiled stays on disk beside the source, so only the first run on a machine waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from engines.errors import EngineInputError
from engines.extras import install_command

try:
    import numba
except ImportError:
    raise EngineInputError(
        f"subject jobshop: numba is not installed; run: {install_command('jobshop')}"
    ) from None

Function = TypeVar("Function", bound=Callable[..., object])


def compiled(function: Function) -> Function:
    """Returns the function as machine code; its arguments are numbers, arrays, tuples of them."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
