"""Plays one trial, an engine's one repeat: starts it, plays, stops it, puts its files in order."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from engines.api import Endpoint, RunningEngine, VirtualEngine
from engines.errors import EngineError, EngineInputError
from engines.identity import ServerIdentity, identify, server_of
from suite.driver.early_stop import StopRule
from suite.driver.play import Drive, DriveResult, play
from suite.playing.isolation import isolated
from suite.playing.prompt_wording import prompt_wording
from suite.playing.workload import Workload, priority_updates
from suite.records.answerers import change_remark, version_text
from suite.records.engine_logs import finish_engine_logs
from suite.records.play_result import IsEnough, PlayResult, never_enough
from suite.records.progress import Progress
from suite.records.run_directory import Counts, Isolation, Trial
from suite.virtual.play import Script, play_virtually
from workloads.plan import Plan
from workloads.spec import StopSpec
from workloads.units import duration_text

CONNECT_TIMEOUT_S = 5.0
SALT_BYTES = 8

Status = Literal["complete", "interrupted", "failed"]


class Observer(Protocol):
    """Is told how a run goes: the terminal, a test."""

    def on_trial_start(self, engine: str, repeat: int) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, trial: Trial) -> None: ...


def unfinished_trial(workload: Workload, name: str, repeat: int) -> Trial:
    """Returns the trial as the manifest has it while it is played: true should this process be
    killed."""
    return Trial(
        engine=name,
        repeat=repeat,
        status="interrupted",
        note="fsbench itself was killed while this was played, or it is not over yet",
        started_at_monotonic_s=None,
        duration_s=0.0,
        counts=_counts(None, workload.plan),
        driver=None,
    )


def play_trial(
    workload: Workload,
    name: str,
    repeat: int,
    *,
    run_directory: Path,
    num_workers: int,
    observer: Observer,
    is_enough: IsEnough = never_enough,
) -> tuple[Trial, EngineError | EngineInputError | None]:
    """Plays the trial, in wall time until `is_enough`; returns it as it went, and the error that
    ended it early, if one did."""
    directory = run_directory / name / str(repeat)
    directory.mkdir(parents=True)
    observer.on_trial_start(name, repeat)
    began_at = time.monotonic()
    course = _Course()
    error: EngineError | EngineInputError | None = None
    try:
        with _running(workload, name, directory) as course.engine:
            if isinstance(course.engine, VirtualEngine):
                script, died = _script(workload, directory), None
                course.result = play_virtually(
                    script, course.engine, on_progress=observer.on_progress
                )
            else:
                engine = course.engine
                course.identity = identify(server_of(engine.endpoint), engine.endpoint.model)
                course.drive, course.isolation = _drive(
                    workload, engine, run_directory, directory, num_workers
                )
                died = _play(course, engine, course.drive, observer, is_enough)
            assert course.result is not None, "a plan that was played has a result"
            # Also where all turns had failed before anybody looked.
            status, note = _status(course.result) if died is None else ("failed", died)
    except (EngineError, EngineInputError) as caught:
        status, note, error = "failed", str(caught), caught
    except KeyboardInterrupt:
        status, note = "interrupted", "interrupted while the engine was starting or stopping"
    result = course.result
    finish_engine_logs(directory, result.started_at_monotonic_s if result else None)
    return Trial(
        engine=name,
        repeat=repeat,
        status=status,
        note=note,
        duration_s=result.duration_s if result else time.monotonic() - began_at,
        counts=_counts(result, workload.plan),
        **_with_remark(course.facts(), _used_up(result, workload.plan)),
    ), error


def _with_remark(facts: dict[str, Any], remark: str | None) -> dict[str, Any]:
    return facts if remark is None else {**facts, "remarks": [*facts.get("remarks", []), remark]}


def _used_up(result: PlayResult | None, plan: Plan) -> str | None:
    """Returns one line where a closed loop had nothing left to ask before its time had passed."""
    if result is None or result.ran_out_at_s is None or plan.closed_duration_s is None:
        return None
    return (
        f"the plan was used up: from {result.ran_out_at_s:.1f} s on fewer than "
        f"{plan.closed_concurrency} conversations were held, before conversations.duration "
        f"{duration_text(plan.closed_duration_s)} had passed; ask for more than "
        f"{sum(each.branch is None for each in plan.conversations):,} (conversations.count)"
    )


@dataclass(slots=True)
class _Course:
    """What came of a trial up to now; also kept of one that broke off."""

    engine: RunningEngine | VirtualEngine | None = None
    identity: ServerIdentity | None = None
    drive: Drive | None = None
    isolation: Isolation | None = None
    result: PlayResult | None = None

    def facts(self) -> dict[str, Any]:
        """Returns the fields of a trial that do not depend on how it ended."""
        result, drive = self.result, self.drive
        return {
            "started_at_monotonic_s": result.started_at_monotonic_s if result else None,
            "driver": result.quality if isinstance(result, DriveResult) else None,
            "isolation": self.isolation,
            "prompt_lengths": drive.wording.lengths if drive and drive.wording else None,
            **_who_answered(self.engine, self.identity, result),
        }


def _play(
    course: _Course, engine: RunningEngine, drive: Drive, observer: Observer, is_enough: IsEnough
) -> str | None:
    """Plays in wall time; returns why the engine can not be asked any more, if so."""
    watch = _death_watch(engine)
    course.result = play(
        drive, on_progress=observer.on_progress, should_stop=watch, is_enough=is_enough
    )
    return watch() or _why_unreachable(engine.endpoint, course.result.counts)


def _who_answered(
    engine: RunningEngine | VirtualEngine | None,
    identity: ServerIdentity | None,
    result: PlayResult | None,
) -> dict[str, Any]:
    """Returns the fields of a trial on what ran, as it says itself; none of an engine without a
    URL."""
    if engine is None or isinstance(engine, VirtualEngine):
        return {}
    answered = [] if result is None else result.answered_by
    change = change_remark(answered)
    endpoint = engine.endpoint
    told = None if endpoint.is_fsbench else version_text(identity, answered, endpoint.model)
    return {
        "engine_version": engine.version or told,
        "asked_model": endpoint.model,
        "server": identity,
        "answered_by": answered,
        "remarks": [*engine.remarks(), *([] if change is None else [change])],
    }


def _running(
    workload: Workload, name: str, directory: Path
) -> AbstractContextManager[RunningEngine | VirtualEngine]:
    return workload.engines[name].running(
        name=name, directory=directory, priorities=priority_updates(workload.plan)
    )


def _death_watch(engine: RunningEngine) -> Callable[[], str | None]:
    def watch() -> str | None:
        return None if engine.is_alive() else f"died, {engine.death_note()}"

    return watch


def _why_unreachable(endpoint: Endpoint, counts: Counts) -> str | None:
    """Returns why the server can not be reached any more; None where it can, or no turn failed.

    A server that is not this project's child is not watched, but asked once, at the end.
    """
    if not counts.failed:
        return None
    for asked in [endpoint.proxy] if endpoint.proxy else endpoint.base_urls:
        url = urlsplit(asked)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            socket.create_connection((url.hostname, port), timeout=CONNECT_TIMEOUT_S).close()
        except OSError as error:
            return (
                f"nothing answers at {url.hostname}:{port} any more "
                f"({error.strerror or error}); look at the server's own log for why it ended"
            )
    return None


def _drive(
    workload: Workload, engine: RunningEngine, run_directory: Path, directory: Path, workers: int
) -> tuple[Drive, Isolation | None]:
    salt = token_hex(SALT_BYTES)  # no other trial's, of this run or another
    turn_timeout_s = workload.spec.driver.turn_timeout
    wording = prompt_wording(engine.endpoint, workload.plan, turn_timeout_s=turn_timeout_s)
    endpoint, isolation = isolated(engine.endpoint, workload.plan, salt, wording)
    drive = Drive(
        plan_path=run_directory / "plan.parquet",
        endpoint=endpoint,
        directory=directory,
        num_workers=workers,
        turn_timeout_s=turn_timeout_s,
        wording=wording,
        stop_rule=_stop_rule(workload.spec.stop),
    )
    return drive, isolation


def _stop_rule(spec: StopSpec | None) -> StopRule | None:
    if spec is None:
        return None
    return StopRule(error_ratio=spec.error_ratio, after=spec.after, is_throughout=spec.throughout)


def _script(workload: Workload, directory: Path) -> Script:
    return Script(
        plan=workload.plan,
        directory=directory,
        turn_timeout_s=workload.spec.driver.turn_timeout,
    )


def _status(result: PlayResult) -> tuple[Status, str | None]:
    match result.stopped_by:
        case None:
            return "complete", None
        case "enough":
            return "complete", result.note
        case "signal" | "time":
            return "interrupted", result.note
        case "caller" | "driver" | "errors":
            return "failed", result.note


def _counts(result: PlayResult | None, plan: Plan) -> Counts:
    if result is not None:
        return result.counts
    return Counts(planned=plan.num_turns, recorded=0, failed=0, lost=plan.num_turns)
