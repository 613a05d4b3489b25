from __future__ import annotations

import asyncio
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import uvloop

from engines.api import Endpoint
from suite.driver.calibrate import endpoint
from suite.driver.connection import Exchange
from suite.driver.data_plane import DataPlane, Shard
from suite.records.turn_records import TurnRecord
from tests.end_to_end.scripted_engine import running_scripted_engine
from workloads.plan import Plan
from workloads.plan_parts import Conversation, PriorityTrace, Slo, Turn, UserClass


@dataclass(frozen=True, slots=True)
class ScriptedEngine:
    port: int
    truth_path: Path

    def endpoint(self, **script: object) -> Endpoint:
        return endpoint(self.port, {"script": script})


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ScriptedEngine]:
    directory = tmp_path_factory.mktemp("scripted-engine")
    with running_scripted_engine(directory) as port:
        yield ScriptedEngine(port, directory / "truth.jsonl")


_serial = iter(range(1_000_000))


@pytest.fixture
def make_plan() -> Callable[..., Plan]:
    """Conversation ids are new in each plan: the engine counts the turns of each for good."""

    def make(
        *,
        starts_at_s: tuple[float, ...] = (0.0,),
        num_turns: int = 1,
        num_output_tokens: int = 5,
        think_time_s: float = 0.0,
        closed_concurrency: int | None = None,
        priorities: PriorityTrace | None = None,
        prompt_text: str | None = None,
    ) -> Plan:
        turns = tuple(
            Turn(
                new_prompt_token_ids=np.arange(7, dtype=np.int32) + 10 * number,
                prompt_text=prompt_text,
                num_output_tokens=num_output_tokens,
                think_time_s=think_time_s if number else 0.0,
            )
            for number in range(num_turns)
        )
        conversations = tuple(
            Conversation(
                conversation_id=f"c{next(_serial)}",
                user_id=f"u{number}",
                user_class="standard",
                start_at_s=start_at_s,
                turns=turns,
            )
            for number, start_at_s in enumerate(starts_at_s)
        )
        slo = Slo(ttft_s=1.0, tbt_s=0.2, tbt_percentile=0.99, attainment_ratio=0.9)
        return Plan(
            name="scripted",
            seed=1,
            user_classes=(UserClass(name="standard", share_ratio=1.0, slo=slo),),
            conversations=conversations,
            closed_concurrency=closed_concurrency,
            priorities=priorities,
        )

    return make


class Reads:
    """What the driver in this process has read so far, over all connections: for those who wait
    for that instead of for a while."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._has_grown = threading.Condition()

    def add(self, data: bytes | memoryview) -> None:
        with self._has_grown:
            self.data += data
            self._has_grown.notify_all()

    def wait_for(self, num_bytes: int) -> None:
        with self._has_grown:
            assert self._has_grown.wait_for(lambda: len(self.data) >= num_bytes, timeout=120)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads, feed = Reads(), Exchange.feed

    def feed_and_tell(exchange: Exchange, data: bytes | memoryview, at_ns: int) -> None:
        feed(exchange, data, at_ns)
        reads.add(data)

    monkeypatch.setattr(Exchange, "feed", feed_and_tell)
    return reads


@dataclass(frozen=True, slots=True)
class Played:
    records: list[TurnRecord]
    started_at: float


@pytest.fixture
def drive_in_process() -> Callable[..., Played]:
    """One data plane in a loop of its own, without Locust."""

    def drive(
        plan: Plan,
        to: Endpoint,
        *,
        turn_timeout_s: float = 60.0,
        start_in_s: float = 0.05,
        stop_when: Callable[[], bool] | None = None,
    ) -> Played:
        records: list[TurnRecord] = []
        started_at_ns = time.monotonic_ns() + round(start_in_s * 1e9)

        async def run() -> None:
            plane = DataPlane(
                Shard.of(plan, worker=0, num_workers=1),
                endpoint=to,
                started_at_ns=started_at_ns,
                turn_timeout_s=turn_timeout_s,
                on_turn=records.append,
            )
            stopping = asyncio.create_task(_stop_when(stop_when, plane)) if stop_when else None
            await plane.run()
            if stopping is not None:
                await stopping

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run())
        return Played(records, started_at_ns / 1e9)

    return drive


async def _stop_when(is_time: Callable[[], bool], plane: DataPlane) -> None:
    while not is_time():
        await asyncio.sleep(0.005)
    plane.stop("enough")


@pytest.fixture
def as_chat() -> Callable[[Endpoint], Endpoint]:
    return lambda to: replace(to, api="chat", prompt_form="text")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Self-signed, for localhost: key and certificate in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    path, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command = [openssl, "req", "-x509", "-days", "2", *curve, *name]
    command += ["-keyout", str(key), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(key.read_text() + path.read_text())
    return path


@pytest.fixture
def authority(tmp_path: Path) -> tuple[Path, Path]:
    """An authority of one's own: its certificate, and what it signed for localhost, with the key
    in one file."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command")
    ca, key, request, signed, mine = (
        tmp_path / name for name in ("ca.pem", "ca.key", "mine.csr", "mine.crt", "mine.pem")
    )
    names = tmp_path / "names.cnf"
    names.write_text("subjectAltName=DNS:localhost\n")
    curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"req -x509 -days 2 {curve} -subj /CN=authority -keyout {key} -out {ca}",
        f"req {curve} -subj /CN=localhost -keyout {mine} -out {request}",
        f"x509 -req -days 2 -in {request} -CA {ca} -CAkey {key} -CAcreateserial"
        f" -extfile {names} -out {signed}",
    ):
        subprocess.run([openssl, *command.split()], check=True, capture_output=True)
    mine.write_text(mine.read_text() + signed.read_text())
    return ca, mine
