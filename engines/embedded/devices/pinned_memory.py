"""Host memory that a GPU reads and writes directly, of exactly the size asked for.

torch's own pinned memory is rounded up to a power of two and kept for later when it is freed: a
pool of 40 GiB would take 64, and two of them one after the other 128.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

PORTABLE_AND_MAPPED = 3  # flags of cudaHostRegister


def register_with_cuda(address: int, num_bytes: int) -> None:
    """Raises RuntimeError."""
    _check(_runtime().cudaHostRegister(address, num_bytes, PORTABLE_AND_MAPPED))


def unregister_with_cuda(address: int) -> None:
    """Raises RuntimeError."""
    _check(_runtime().cudaHostUnregister(address))


def _runtime() -> Any:
    return torch.cuda.cudart()  # type: ignore[no-untyped-call]


def _check(error: Any) -> None:
    if int(error) != 0:
        raise RuntimeError(f"pinning failed: {error}")


class PinnedMemory:
    """Zeroed. To be closed before it is forgotten; then it is ordinary memory."""

    def __init__(
        self,
        num_bytes: int,
        *,
        register: Callable[[int, int], None] = register_with_cuda,
        unregister: Callable[[int], None] = unregister_with_cuda,
    ) -> None:
        """Raises OSError or RuntimeError: the memory is not to be had."""
        pages = mmap.mmap(-1, num_bytes)  # the kernel gives zeros
        with contextlib.suppress(OSError, AttributeError):
            pages.madvise(mmap.MADV_HUGEPAGE)  # pinning 40 GiB takes seconds then, not a minute
        self.values: Tensor = torch.frombuffer(pages, dtype=torch.uint8)
        register(self.values.data_ptr(), num_bytes)
        self._unregister = unregister
        self._is_registered = True

    def close(self) -> None:
        """Unpins the memory, where nothing may be under way. May be called twice."""
        if self._is_registered:
            self._is_registered = False
            self._unregister(self.values.data_ptr())
