"""What happens on the engine's thread before the first step."""

from __future__ import annotations

import threading

import pytest

from engines.core.engine import Engine
from engines.embedded.settings import FastSwitchSettings
from engines.serving.engine_thread import EngineThread
from tests.engines.core.memory_device import MemoryDevice


def engine() -> Engine:
    core = FastSwitchSettings(kv_tokens=64, swap_tokens=64, block_size=4).core()
    device = MemoryDevice(block_size=4, num_device_blocks=16, num_host_blocks=16)
    return Engine(core, device, clock=lambda: 0.0)


def test_it_is_set_up_on_the_thread_that_steps_and_before_start_returns() -> None:
    seen: list[threading.Thread] = []
    thread = EngineThread(
        engine(),
        on_outputs=lambda _: None,
        on_failure=lambda _: None,
        set_up=lambda: seen.append(threading.current_thread()),
    )
    thread.start()
    (its_own,) = seen
    assert its_own is not threading.current_thread()
    assert its_own.is_alive()
    thread.stop()
    assert not its_own.is_alive()


def test_what_fails_there_fails_the_start_and_ends_the_thread() -> None:
    def fail() -> None:
        raise MemoryError("no room for graphs")

    failures: list[BaseException] = []
    thread = EngineThread(
        engine(), on_outputs=lambda _: None, on_failure=failures.append, set_up=fail
    )
    with pytest.raises(MemoryError, match="no room for graphs"):
        thread.start()
    thread.stop()
    assert not thread.is_alive()
    assert failures == []
