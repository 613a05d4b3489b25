"""All copies of a transfer by one call out of Python, during which other threads go on.

A loop in Python takes Python's lock for each copy, for which the thread that steps the engine
waits: one copy a block, the way of vLLM 0.3, would look several times as bad as it is there. So the
loop is C, compiled on first use by the machine's own compiler, which Triton needs anyway. It calls
CUDA's functions by their addresses and is built without CUDA's headers.

The other call is CUDA's own, `cudaMemcpyBatchAsync`: many copies described at once.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from engines.core.device import BlockRun
from engines.errors import EngineInputError

# Copies in flight, at most two bursts: past about a thousand queued ones each further call, a
# kernel launch included, takes a hundred times as long. The loop waits for the burst before the
# last, so that the link never runs dry.
BURST_COPIES = 128

SOURCE = """
#include <stddef.h>

typedef int (*copy_function)(void *, const void *, size_t, int, void *);
typedef int (*record_function)(void *, void *);
typedef int (*wait_function)(void *);

int enqueue_copies(
    copy_function copy, record_function record, wait_function wait,
    void **targets, void **sources, size_t *sizes, size_t num_copies,
    int kind, void *stream, void **events, size_t burst)
{
    for (size_t i = 0; i < num_copies; i++) {
        int error = copy(targets[i], sources[i], sizes[i], kind, stream);
        if (error)
            return error;
        if ((i + 1) % burst == 0) {
            size_t turn = (i + 1) / burst;
            error = record(events[turn % 2], stream);
            if (!error && turn > 1)
                error = wait(events[(turn - 1) % 2]);
            if (error)
                return error;
        }
    }
    return 0;
}
"""

Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """Copies by address: each of `sizes` bytes from `sources` to `targets`."""

    sources: Words
    targets: Words
    sizes: Words

    def __len__(self) -> int:
        return len(self.sizes)


def pieces_of(source: Tensor, target: Tensor, runs: Sequence[BlockRun]) -> Pieces:
    """Returns a piece for each run and part. Pools are [parts, blocks, values], their blocks
    dense."""
    table = np.array(runs, dtype=np.uint64).reshape(-1, 3)
    num_parts = len(source)
    block_bytes = np.uint64(source.shape[2] * source.element_size())
    sizes = np.repeat(table[:, 2] * block_bytes, num_parts)
    return Pieces(
        sources=_addresses(source, table[:, 0]),
        targets=_addresses(target, table[:, 1]),
        sizes=sizes,
    )


def _addresses(pool: Tensor, blocks: Words) -> Words:
    """Returns the addresses of these blocks, part after part of each."""
    part_stride, block_stride, _ = (np.uint64(n * pool.element_size()) for n in pool.stride())
    parts = np.arange(len(pool), dtype=np.uint64) * part_stride
    return (np.uint64(pool.data_ptr()) + blocks[:, None] * block_stride + parts).ravel()


class CopyLoop:
    """The loop in C around one copying function."""

    def __init__(self, *, copy: int, record: int, wait: int) -> None:
        """Addresses of cudaMemcpyAsync, cudaEventRecord and cudaEventSynchronize, or of functions
        that are called alike. Raises EngineInputError: there is no compiler."""
        self._functions = copy, record, wait
        self._enqueue = _compiled()

    def __call__(self, pieces: Pieces, *, kind: int, stream: int, events: tuple[int, int]) -> int:
        """Returns CUDA's error code. `kind`: cudaMemcpyKind; both events are the caller's own."""
        return int(
            self._enqueue(
                *self._functions,
                pieces.targets.ctypes.data,
                pieces.sources.ctypes.data,
                pieces.sizes.ctypes.data,
                len(pieces),
                kind,
                stream,
                (ctypes.c_void_p * 2)(*events),
                BURST_COPIES,
            )
        )


@cache
def _compiled() -> Callable[..., int]:
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise EngineInputError(
            "copy: per_block and merged on CUDA need a C compiler (cc) for their loop, found none;"
            " install one, or take copy: batched or copy: kernel"
        )
    with tempfile.TemporaryDirectory() as folder:
        source, library = Path(folder, "copies.c"), Path(folder, "copies.so")
        source.write_text(SOURCE)
        command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EngineInputError(
                f"{compiler} could not build the loop of copies: {done.stderr.strip()[-200:]};"
                " mend the compiler, or take copy: batched or copy: kernel"
            )
        enqueue = ctypes.CDLL(str(library)).enqueue_copies  # stays loaded without its file
    enqueue.restype = ctypes.c_int
    enqueue.argtypes = [
        *[ctypes.c_void_p] * 6,
        ctypes.c_size_t,
        ctypes.c_int,
        *[ctypes.c_void_p] * 2,
        ctypes.c_size_t,
    ]
    return enqueue


class _Location(ctypes.Structure):
    _fields_ = (("type", ctypes.c_int), ("id", ctypes.c_int))


class _Attributes(ctypes.Structure):
    """cudaMemcpyAttributes."""

    _fields_ = (
        ("source_access_order", ctypes.c_int),
        ("source_location", _Location),
        ("target_location", _Location),
        ("flags", ctypes.c_uint),
    )


IN_STREAM_ORDER = 1  # cudaMemcpySrcAccessOrderStream


class BatchCall:
    """`cudaMemcpyBatchAsync` of the CUDA runtime that this process uses."""

    def __init__(self, runtime: ctypes.CDLL, version: tuple[int, int]) -> None:
        """Raises EngineInputError: it came with CUDA 12.8."""
        if version < (12, 8):
            raise EngineInputError(
                "copy: batched needs CUDA 12.8 or newer (cudaMemcpyBatchAsync), got"
                f" {version[0]}.{version[1]}; take copy: merged or copy: kernel"
            )
        self._tells_which_failed = version < (13, 0)  # by one argument more
        self._call = runtime.cudaMemcpyBatchAsync
        self._call.restype = ctypes.c_int

    def __call__(self, pieces: Pieces, *, stream: int) -> int:
        """Returns CUDA's error code."""
        attributes = _Attributes(source_access_order=IN_STREAM_ORDER)
        first = ctypes.c_size_t(0)  # copy that the attributes hold for; and for all behind it
        failed = ctypes.c_size_t()
        return int(
            self._call(
                ctypes.c_void_p(pieces.targets.ctypes.data),
                ctypes.c_void_p(pieces.sources.ctypes.data),
                ctypes.c_void_p(pieces.sizes.ctypes.data),
                ctypes.c_size_t(len(pieces)),
                ctypes.byref(attributes),
                ctypes.byref(first),
                ctypes.c_size_t(1),
                *([ctypes.byref(failed)] if self._tells_which_failed else []),
                ctypes.c_void_p(stream),
            )
        )


def cuda_runtime(version: str) -> tuple[ctypes.CDLL, tuple[int, int]]:
    """Returns the library that torch has loaded already. `version`: `torch.version.cuda`."""
    major, minor = (int(part) for part in version.split(".")[:2])
    return ctypes.CDLL(f"libcudart.so.{major}"), (major, minor)


def check(error: int, runtime: ctypes.CDLL) -> None:
    """Raises RuntimeError with CUDA's own words, unless `error` is 0."""
    if error:
        runtime.cudaGetErrorString.restype = ctypes.c_char_p
        raise RuntimeError(f"CUDA error {error}: {runtime.cudaGetErrorString(error).decode()}")


def address_of(function: Any) -> int:
    """Returns the address of a function in a library."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address
