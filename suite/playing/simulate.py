"""A plan through a simulated engine into one directory, without a run around it: for sweeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from engines.simulated.settings import SimulatedSettings
from engines.simulated.virtual_engine import SimulatedEngine
from suite.playing.workload import priority_updates
from suite.records.engine_logs import finish_engine_logs
from suite.records.play_result import PlayResult
from suite.records.progress import Progress
from suite.virtual.play import Script, play_virtually
from workloads.plan import Plan


def simulate(
    plan: Plan,
    settings: SimulatedSettings,
    directory: Path,
    *,
    turn_timeout_s: float = float("inf"),
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> PlayResult:
    """`settings` resolved; `directory` gets turns.parquet and the engine's logs."""
    script = Script(plan=plan, directory=directory, turn_timeout_s=turn_timeout_s)
    priorities = priority_updates(plan)
    engine = SimulatedEngine(settings, priorities=priorities, log_directory=directory)
    with closing(engine):
        result = play_virtually(script, engine, on_progress=on_progress)
    finish_engine_logs(directory, result.started_at_monotonic_s)
    return result
