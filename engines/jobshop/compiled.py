"""Numba's compiler for the inner loops, typed so that mypy still sees the functions themselves.

What is compiled stays on disk, so only the first run waits for it: in a folder named by the digest
of all files that have such functions, since numba itself would not notice that a function which
another file's function calls has changed.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
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


def _cache_folder(package: Path) -> Path:
    """Returns where machine code of just these sources lies: beside them, or where that can not be
    written, in the temporary folder."""
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        source = path.read_bytes()
        if b"@compiled" in source:
            digest.update(source)
    home = package if os.access(package, os.W_OK) else Path(tempfile.gettempdir())
    return home / "__pycache__" / f"compiled-{digest.hexdigest()[:16]}"


numba.config.CACHE_DIR = str(_cache_folder(Path(__file__).parent))  # type: ignore[attr-defined]


def compiled(function: Function) -> Function:
    """Returns the function as machine code; its arguments are numbers, arrays, tuples of them."""
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
