"""What stood on the loopback and when: packets as tcpdump wrote them, put together to answers."""

from __future__ import annotations

import signal
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers_tried.plain_client import events

NANO_MAGIC = 0xA1B23C4D
ETHERNET_BYTES = 14
SETTLE_S = 1.0  # until tcpdump listens, and until it has written what it heard
BUFFER_KIB = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class OnTheWire:
    """One answer: instants of packets, CLOCK_MONOTONIC seconds."""

    asked_at: float  # the request's first packet
    token_at: tuple[float, ...]  # the packet with the last byte of each event that has text


@contextmanager
def captured(port: int, path: Path) -> Iterator[None]:
    """Writes the port's packets on the loopback into the file, meanwhile."""
    argv = [
        "tcpdump",
        "-i",
        "lo",
        "--immediate-mode",
        "-U",
        "-s",
        "0",
        "-B",
        str(BUFFER_KIB),
        "-w",
        str(path),
    ]
    argv += ["--time-stamp-precision=nano", "tcp", "port", str(port)]
    process = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    time.sleep(SETTLE_S)
    try:
        yield
    finally:
        time.sleep(SETTLE_S)
        process.send_signal(signal.SIGINT)
        process.wait()


def real_less_monotonic_s() -> float:
    """Returns by how much the packets' clock is ahead of that of the clients."""
    tries = []
    for _ in range(20):
        before, real, after = time.monotonic_ns(), time.time_ns(), time.monotonic_ns()
        tries.append((after - before, real - (before + after) // 2))
    return min(tries)[1] / 1e9


def answers(path: Path, port: int, *, offset_s: float) -> list[OnTheWire]:
    """Returns each answer that the server at the port gave, in the order in which it was asked;
    several over one connection are told apart by their requests."""
    asked: dict[int, list[tuple[float, bool, int, bytes]]] = {}
    for at, source, target, sequence, payload in _packets(path):
        client = target if source == port else source
        if payload:
            asked.setdefault(client, []).append((at - offset_s, source == port, sequence, payload))
    found = [each for packets in asked.values() for each in _exchanges(packets)]
    return sorted(found, key=lambda each: each.asked_at)


def _exchanges(packets: list[tuple[float, bool, int, bytes]]) -> Iterator[OnTheWire]:
    asked_at, heard, seen = None, [], set()
    for at, is_servers, sequence, payload in packets:
        if not is_servers and payload.startswith(b"POST "):
            if asked_at is not None:
                yield _answer(asked_at, heard)
            asked_at, heard = at, []
        elif is_servers and sequence not in seen:  # sent again, it would count twice
            seen.add(sequence)
            heard.append((at, payload))
    if asked_at is not None:
        yield _answer(asked_at, heard)


def _answer(asked_at: float, heard: list[tuple[float, bytes]]) -> OnTheWire:
    stream, ends = b"", []
    for at, payload in heard:
        stream += payload
        ends.append((len(stream), at))
    token_at = []
    for end, event in events(stream):
        choices = event.get("choices") or [{}]
        said = choices[0].get("delta", choices[0])
        if said.get("content") or said.get("text"):
            token_at.append(next(at for offset, at in ends if offset >= end))
    return OnTheWire(asked_at=asked_at, token_at=tuple(token_at))


def _packets(path: Path) -> Iterator[tuple[float, int, int, int, bytes]]:
    """Yields (instant, source port, target port, sequence number, payload) of TCP over IPv4."""
    raw = path.read_bytes()
    assert struct.unpack_from("<I", raw)[0] == NANO_MAGIC, path
    place = 24
    while place + 16 <= len(raw):
        seconds, nanoseconds, length, _ = struct.unpack_from("<IIII", raw, place)
        packet = raw[place + 16 : place + 16 + length]
        place += 16 + length
        ip = packet[ETHERNET_BYTES:]
        if packet[12:14] != b"\x08\x00" or ip[9] != 6:
            continue
        total, head = struct.unpack_from("!H", ip, 2)[0], (ip[0] & 15) * 4
        tcp = ip[head : total if total else len(ip)]
        source, target, sequence = struct.unpack_from("!HHI", tcp)
        payload = tcp[(tcp[12] >> 4) * 4 :]
        yield seconds + nanoseconds / 1e9, source, target, sequence, payload
