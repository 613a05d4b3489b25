"""A step's integers, brought to the device by one copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class StepInputs:
    """One int64 buffer on the device, and its staging on the host; pinned where that is CUDA.

    Columns lie one after the other. Columns of the same lengths lie at the same addresses in each
    step, which is what a recorded step reads.
    """

    def __init__(self, device: torch.device, num_values: int) -> None:
        self._device = device
        self._is_cuda = device.type == "cuda"
        self._is_copied: Any = None  # an event: the staging may be written again
        self._allocate(num_values)

    @property
    def num_values(self) -> int:
        return len(self._on_device)

    def grow(self, num_values: int) -> None:
        """Make room for so many; views that were given before are of the old buffer."""
        if num_values > self.num_values:
            self._allocate(max(num_values, 2 * self.num_values))

    def fill(self, columns: Sequence[Sequence[int]]) -> list[Tensor]:
        """Returns the columns on the device, as views of the buffer. They have to fit."""
        if self._is_copied is not None:
            self._is_copied.synchronize()  # of the last step: long since
        values: list[int] = []
        for column in columns:
            values += column
        num_values = len(values)
        self._staging[:num_values] = values
        self._on_device[:num_values].copy_(self._on_host[:num_values], non_blocking=True)
        if self._is_cuda:
            self._is_copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._is_copied.record()
        return self.views([len(column) for column in columns])

    def views(self, lengths: Sequence[int]) -> list[Tensor]:
        """Returns where columns of such lengths lie."""
        return list(torch.split(self._on_device[: sum(lengths)], list(lengths)))

    def _allocate(self, num_values: int) -> None:
        self._on_host = torch.zeros(num_values, dtype=torch.int64, pin_memory=self._is_cuda)
        self._staging = self._on_host.numpy()
        self._on_device = torch.zeros(num_values, dtype=torch.int64, device=self._device)
