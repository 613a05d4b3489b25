"""What the engine says of itself, on disk while it runs: steps, requests that ended, transfers.

Every `steps_per_batch` steps whatever was said goes out, of all three: that much a kill can lose.
"""

from __future__ import annotations

from pathlib import Path

from engines.arrow_log import RecordLog
from engines.core.request_log import RequestRecord
from engines.core.step_log import StepRecord
from engines.core.transfer_log import TransferRecord

STEPS_PER_BATCH = 32  # about a second


class EngineLogs:
    """The three logs of one engine. Each method but `close` is one of `Engine`'s callbacks. One
    thread at a time."""

    def __init__(self, directory: Path, *, steps_per_batch: int = STEPS_PER_BATCH) -> None:
        """Opens the three logs in the directory, named as in `engines.api.ENGINE_LOGS`."""
        self._steps = RecordLog(directory / "steps.arrows", StepRecord)
        self._requests = RecordLog(directory / "requests.arrows", RequestRecord)
        self._transfers = RecordLog(directory / "transfers.arrows", TransferRecord)
        self._steps_per_batch = steps_per_batch

    def step(self, record: StepRecord) -> None:
        self._steps.append(record)
        if len(self._steps) >= self._steps_per_batch:
            for log in self._all():
                log.flush()

    def request(self, record: RequestRecord) -> None:
        self._requests.append(record)

    def transfer(self, record: TransferRecord) -> None:
        self._transfers.append(record)

    def close(self) -> None:
        for log in self._all():
            log.close()

    def _all(self) -> tuple[RecordLog, ...]:
        return self._steps, self._requests, self._transfers
