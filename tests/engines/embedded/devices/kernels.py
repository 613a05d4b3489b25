"""Where Triton's kernels run in these tests: on a GPU, else in its interpreter on CPU tensors."""

from __future__ import annotations

from typing import Any

import pytest

triton = pytest.importorskip("triton", reason="the CUDA kernels need Triton (make setup)")

IS_INTERPRETED = bool(triton.knobs.runtime.interpret)
DEVICE = "cpu" if IS_INTERPRETED else "cuda"


class _NothingToRestore:
    def restore(self) -> None: ...


def _patch_the_language_once() -> None:
    """The interpreter puts its own functions into Triton's language at each call of each function,
    also of those that a kernel calls, and takes them out again: more than half of its time."""
    from triton.runtime import interpreter

    patch = interpreter._patch_lang
    patched: set[int] = set()

    def patch_once(fn: Any) -> _NothingToRestore:
        if id(fn.__globals__) not in patched:
            patched.add(id(fn.__globals__))
            patch(fn)
        return _NothingToRestore()

    interpreter._patch_lang = patch_once


if IS_INTERPRETED:
    _patch_the_language_once()
