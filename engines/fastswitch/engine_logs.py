"""What the engine says of itself, on disk while it runs: steps, requests that ended, transfers.

Every STEPS_PER_BATCH steps whatever was said goes out, of all three: that much a kill can lose.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from engines.api import ENGINE_LOGS
from engines.arrow_log import ArrowLog, schema_of
from engines.fastswitch.request_log import RequestRecord
from engines.fastswitch.step_log import StepRecord
from engines.fastswitch.transfer_log import TransferRecord

Record = StepRecord | RequestRecord | TransferRecord
STEPS_PER_BATCH = 32  # about a second


class EngineLogs:
    """Each method but `close` is one of `Engine`'s callbacks. One thread at a time."""

    def __init__(self, directory: Path) -> None:
        steps, requests, transfers = (directory / f"{name}.arrows" for name in ENGINE_LOGS)
        self._steps = _RecordLog(steps, StepRecord)
        self._requests = _RecordLog(requests, RequestRecord)
        self._transfers = _RecordLog(transfers, TransferRecord)

    def step(self, record: StepRecord) -> None:
        self._steps.append(record)
        if len(self._steps) >= STEPS_PER_BATCH:
            for log in self._all():
                log.flush()

    def request(self, record: RequestRecord) -> None:
        self._requests.append(record)

    def transfer(self, record: TransferRecord) -> None:
        self._transfers.append(record)

    def close(self) -> None:
        for log in self._all():
            log.close()

    def _all(self) -> tuple[_RecordLog, ...]:
        return self._steps, self._requests, self._transfers


class _RecordLog:
    """Records wait as they are: spelling them out as rows is left for the flush."""

    def __init__(self, path: Path, record_type: type[Record]) -> None:
        self._records: list[Record] = []
        self._log = ArrowLog(path, schema_of(record_type))

    def __len__(self) -> int:
        return len(self._records)

    def append(self, record: Record) -> None:
        self._records.append(record)

    def flush(self) -> None:
        for record in self._records:
            self._log.append(asdict(record))
        self._records.clear()
        self._log.flush()

    def close(self) -> None:
        self.flush()
        self._log.close()
