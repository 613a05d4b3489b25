"""Plays a plan on an engine in virtual time into one directory, without a run around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engines.api import EngineSettings, VirtualEngine
from suite.playing.workload import priority_updates
from suite.records.engine_logs import finish_engine_logs
from suite.records.play_result import PlayResult
from suite.records.progress import Progress
from suite.virtual.play import Script, play_virtually
from workloads.plan import Plan


def simulate(
    plan: Plan,
    settings: EngineSettings,
    directory: Path,
    *,
    turn_timeout_s: float = float("inf"),
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> PlayResult:
    """Plays the plan and returns how it ended; `directory` gets turns.parquet and engine logs.

    `settings` are resolved and of virtual time.
    """
    script = Script(plan=plan, directory=directory, turn_timeout_s=turn_timeout_s)
    priorities = priority_updates(plan)
    with settings.running(name=plan.name, directory=directory, priorities=priorities) as engine:
        assert isinstance(engine, VirtualEngine), settings
        result = play_virtually(script, engine, on_progress=on_progress)
    finish_engine_logs(directory, result.started_at_monotonic_s)
    return result
