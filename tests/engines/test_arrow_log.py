from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from engines.arrow_log import ArrowLog, RecordLog, read_arrow_logs

SCHEMA = pa.schema([("step", pa.int64()), ("at", pa.float64())])


def test_rows_come_back_in_order_over_several_logs(tmp_path: Path) -> None:
    for name, steps in (("a", range(5)), ("b", range(5, 7))):
        with ArrowLog(tmp_path / name, SCHEMA, rows_per_batch=2) as log:
            for step in steps:
                log.append({"step": step, "at": step / 2})
    table = read_arrow_logs([tmp_path / "a", tmp_path / "b"])
    assert table["step"].to_pylist() == list(range(7))


def test_what_was_flushed_survives_a_kill(tmp_path: Path) -> None:
    log = ArrowLog(tmp_path / "a", SCHEMA, rows_per_batch=2)
    for step in range(5):
        log.append({"step": step, "at": 0.0})
    assert read_arrow_logs([tmp_path / "a"])["step"].to_pylist() == [0, 1, 2, 3]
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "cut").write_bytes(whole[:-40])  # killed in the middle of a write
    assert read_arrow_logs([tmp_path / "cut"])["step"].to_pylist() == [0, 1]
    log.close()


def test_a_log_without_a_single_readable_byte_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(ValueError, match="no readable log among"):
        read_arrow_logs([tmp_path / "empty"])


def test_a_log_s_first_batch_imports_nothing(tmp_path: Path) -> None:
    """pyarrow imports pandas when it first converts anything; a step must not wait for that."""
    script = f"""
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
import pyarrow as pa
from engines.arrow_log import ArrowLog
log = ArrowLog(Path({str(tmp_path / "log")!r}), pa.schema([("a", pa.int64())]), rows_per_batch=1)
before = set(sys.modules)
log.append({{"a": 1}})
late = [name for name in sys.modules if name not in before]
assert not late, late
"""
    subprocess.run([sys.executable, "-c", script], check=True)


@dataclass(frozen=True)
class Inner:
    name: str
    at: float | None


@dataclass(frozen=True)
class Outer:
    step: int
    first: Inner
    inners: tuple[Inner, ...]
    numbers: tuple[float, ...]


def test_records_within_records_come_back_as_their_dicts(tmp_path: Path) -> None:
    records = [
        Outer(step=i, first=Inner("a", None), inners=(Inner("b", 0.5),) * i, numbers=(0.25,) * i)
        for i in (2, 0, 1)
    ]
    log = RecordLog(tmp_path / "log", Outer)
    for record in records:
        log.append(record)
    log.close()
    rows = read_arrow_logs([tmp_path / "log"]).to_pylist()
    assert rows == [
        {**asdict(record), "inners": [*map(asdict, record.inners)], "numbers": [*record.numbers]}
        for record in records
    ]
