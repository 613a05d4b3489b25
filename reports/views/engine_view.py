"""What the page draws of one engine: small, whatever the run's size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from reports.views.attainment import HeatMap, heat_map
from reports.views.latency import LatencyView, latency_view
from reports.views.service import Lorenz, ServiceView, service_views
from reports.views.switching import SwitchingView, switching_view
from reports.views.timeline import Timeline, timeline_view
from suite.measuring.engine_run import read_engine
from suite.measuring.window import measured
from suite.records.engine_logs import read_engine_logs
from suite.records.run_directory import Manifest
from workloads.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    latency: LatencyView
    timeline: Timeline | None
    heat_map: HeatMap | None
    service: ServiceView | None
    lorenz: Mapping[str, Lorenz | None]  # of "service" and of "attainment"
    switching: SwitchingView


def read_engine_view(run: Path, manifest: Manifest, plan: Plan, name: str) -> EngineView:
    """Reads one engine's records, keeps what is drawn, and lets go of the rest.

    What can be drawn of a single repeat only is drawn of the first. The timeline and the engine's
    own logs show the trial as a whole, everything else what is measured.
    """
    engine = read_engine(run, manifest, measured(plan, manifest.workload), plan, name)
    turns, kept = engine.turns, engine.measured.plan
    repeat = engine.trials[0].repeat if engine.trials else 1
    logs = [(trial.repeat, read_engine_logs(trial.directory(run))) for trial in engine.trials]
    classes = [each.name for each in plan.user_classes]
    service, lorenz = service_views(turns, engine.users, classes, repeat)
    return EngineView(
        latency=latency_view(turns, plan),
        timeline=timeline_view(engine.all_turns, repeat),
        heat_map=heat_map(turns, engine.users, kept, repeat),
        service=service,
        lorenz=lorenz,
        switching=switching_view(logs),
    )
