"""All that was recorded of one engine in one run, with what it should have been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from suite.measuring.attainment import (
    Attainment,
    attaining_uncapped,
    judge_users,
    keeping_gaps,
    planned_users,
    turns_not_due,
)
from suite.measuring.deadlines import headroom
from suite.measuring.slowdown import SoloLatencies, solo_latencies
from suite.measuring.steady_state import load_warnings
from suite.measuring.window import Measured
from suite.plurals import several
from suite.records.run_directory import DriverQuality, Manifest, Trial
from suite.records.turn_table import TurnTable, read_turns
from suite.statistics.arrays import Bools, Floats
from workloads.branches import Branches
from workloads.plan import Plan

NUM_REASONS = 3  # of failed turns, shown


@dataclass(frozen=True, eq=False)  # compared and cached by identity
class EngineRun:
    """Turns of the trial as a whole (`all_turns`), and those that are measured (`turns`)."""

    run: Path  # its directory
    plan: Plan  # as played
    measured: Measured
    trials: tuple[Trial, ...]  # repeats that began
    num_repeats: int  # as planned
    is_exact: bool  # in virtual time the same plan gives the same numbers, to the bit
    all_turns: TurnTable
    turns: TurnTable
    attains: Bools  # of `turns`
    users: Attainment  # of what is measured
    attains_all: Bools  # of `all_turns`
    solo: SoloLatencies | None

    @property
    def repeats(self) -> list[int]:
        return [trial.repeat for trial in self.trials]

    @cached_property
    def headroom(self) -> Floats:
        """How much of its promise each of `turns` did not need, [num_turns]."""
        return headroom(self.turns, self.attains, self.plan.user_classes)

    @property
    def is_driver_valid(self) -> bool | None:
        """Whether the driver was within its bounds in all trials; None where none took part."""
        drivers = self._drivers
        return all(each.is_valid for each in drivers) if drivers else None

    @property
    def tbt_doubt(self) -> str | None:
        """Why gaps between tokens can not be judged; None where they can."""
        return next((each.tbt_doubt for each in self._drivers if each.tbt_doubt), None)

    @property
    def tpot_doubt(self) -> str | None:
        """Why TPOT can not be judged; None where it can."""
        return next((each.tpot_doubt for each in self._drivers if each.tpot_doubt), None)

    @property
    def _drivers(self) -> list[DriverQuality]:
        return [trial.driver for trial in self.trials if trial.driver is not None]

    def only(self, trial: Trial) -> EngineRun:
        """Returns one repeat of the engine as an engine of its own."""
        if len(self.trials) == 1:
            return self
        rows, all_rows = (table.repeat == trial.repeat for table in (self.turns, self.all_turns))
        return EngineRun(
            run=self.run,
            plan=self.plan,
            measured=self.measured,
            trials=(trial,),
            num_repeats=1,
            is_exact=self.is_exact,
            all_turns=self.all_turns.where(all_rows),
            turns=self.turns.where(rows),
            attains=self.attains[rows],
            users=self.users.where(self.users.repeat == trial.repeat),
            attains_all=self.attains_all[all_rows],
            solo=self.solo,
        )


def read_engine(
    run: Path, manifest: Manifest, measured: Measured, plan: Plan, name: str
) -> EngineRun:
    """Reads the records of all repeats of an engine that began. Raises RunDirectoryError."""
    trials = tuple(trial for trial in manifest.trials if trial.engine == name)
    return _engine_run(
        run,
        plan,
        measured,
        trials,
        num_repeats=manifest.repeats,
        is_exact=manifest.facts_of(name).is_virtual,
        all_turns=read_turns([(trial.repeat, trial.directory(run)) for trial in trials]),
        solo=solo_latencies(run, name),
    )


def engine_run_of(engine: EngineRun, all_turns: TurnTable) -> EngineRun:
    """Returns the engine's run with other instants in its turns."""
    return _engine_run(
        engine.run,
        engine.plan,
        engine.measured,
        engine.trials,
        num_repeats=engine.num_repeats,
        is_exact=engine.is_exact,
        all_turns=all_turns,
        solo=engine.solo,
    )


def _engine_run(
    run: Path,
    plan: Plan,
    measured: Measured,
    trials: tuple[Trial, ...],
    *,
    num_repeats: int,
    is_exact: bool,
    all_turns: TurnTable,
    solo: SoloLatencies | None,
) -> EngineRun:
    attains_uncapped = attaining_uncapped(all_turns, plan.user_classes)
    attains_all = attains_uncapped & keeping_gaps(all_turns, plan.user_classes)
    is_measured = _is_measured(all_turns, measured)
    turns = all_turns.where(is_measured)
    attains = attains_all[is_measured]
    repeats = [trial.repeat for trial in trials]
    users, stopped = planned_users(measured.plan), [each.repeat for each in trials if _is_cut(each)]
    not_due = turns_not_due(measured.plan, users, turns, repeats, stopped)
    return EngineRun(
        run=run,
        plan=plan,
        measured=measured,
        trials=trials,
        num_repeats=num_repeats,
        is_exact=is_exact,
        all_turns=all_turns,
        turns=turns,
        attains=attains,
        users=judge_users(
            users, turns, attains, attains_uncapped[is_measured], repeats, num_not_due=not_due
        ),
        attains_all=attains_all,
        solo=solo,
    )


def _is_cut(trial: Trial) -> bool:
    """Stopped by the user's will or by the planned time, before all turns were due."""
    return bool(trial.counts.cut or trial.counts.not_due or trial.counts.not_begun)


def _is_measured(turns: TurnTable, measured: Measured) -> Bools:
    if not measured.num_cut_conversations:
        return np.ones(len(turns), dtype=bool)
    kept = {each.conversation_id for each in measured.plan.conversations}
    return np.array([each in kept for each in turns.conversation_id], dtype=bool)


def counts(engine: EngineRun) -> dict[str, int]:
    """planned = recorded + lost + not_begun, over all planned repeats, also those that never began.
    `not_begun` is there only where the planned time ended a closed loop."""
    planned = engine.plan.num_turns * engine.num_repeats
    recorded = len(engine.all_turns) + not_asked(engine)["cut_short"]
    not_begun = sum(trial.counts.not_begun for trial in engine.trials)
    return {
        "planned": planned,
        "recorded": recorded,
        "failed": int(engine.all_turns.has_failed.sum()),
        "lost": planned - recorded - not_begun,
        **({"not_begun": not_begun} if engine.plan.closed_duration_s is not None else {}),
    }


def not_asked(engine: EngineRun) -> dict[str, int]:
    """Why turns were not asked, or not to their end: of the lost, an earlier turn of their
    conversation had failed (they miss their SLO), or the run was stopped before they were due; of
    the recorded, such that were cut short by that stop. The last two are in no other number."""
    turns = engine.all_turns
    num_turns = {each.conversation_id: len(each.turns) for each in engine.plan.conversations}
    branches = Branches(engine.plan.conversations)
    failed = np.flatnonzero(turns.has_failed)
    places = zip(turns.conversation_id[failed], turns.turn[failed].tolist(), strict=True)
    return {
        "after_failure": sum(
            num_turns[conversation] - turn - 1 + branches.num_turns_behind(conversation, turn)
            for conversation, turn in places
        ),
        "not_due": sum(part.counts.not_due for part in engine.trials),
        "cut_short": sum(part.counts.cut for part in engine.trials),
    }


def status(engine: EngineRun) -> str:
    """missing · failed · interrupted · complete: the worst that befell any repeat."""
    if not engine.trials:
        return "missing"
    found = {trial.status for trial in engine.trials}
    if len(engine.trials) < engine.num_repeats or _num_gone(engine):
        found.add("interrupted")
    return next(each for each in ("failed", "interrupted", "complete") if each in found)


def _num_gone(engine: EngineRun) -> int:
    """Turns that the manifest counted and the files no longer hold."""
    counted = sum(trial.counts.recorded - trial.counts.cut for trial in engine.trials)
    return max(0, counted - len(engine.all_turns))


def version(engine: EngineRun) -> str | None:
    """What ran, where it was not this project's own engine and told us."""
    found = dict.fromkeys(trial.engine_version for trial in engine.trials if trial.engine_version)
    return "; ".join(found) or None


def warnings(engine: EngineRun, load: Mapping[str, Any]) -> list[str]:
    """One line each, for a reader of the report: what limits the trust in these numbers."""
    found = []
    if not engine.trials:
        found.append("the engine was never started: nothing was measured")
    elif len(engine.trials) < engine.num_repeats:
        found.append(f"{len(engine.trials)} of {engine.num_repeats} repeats were begun")
    for trial in engine.trials:
        if trial.status != "complete":
            found.append(f"repeat {trial.repeat} {trial.status}: {trial.note or 'no reason given'}")
        if trial.driver is not None:
            found += [f"repeat {trial.repeat}, driver: {text}" for text in trial.driver.warnings]
    found += dict.fromkeys(remark for trial in engine.trials for remark in trial.remarks)
    number = counts(engine)
    if gone := _num_gone(engine):
        found.append(
            f"{several(gone, 'turn')} that had been recorded cannot be found in {engine.run}: "
            "a turns.parquet of it is missing"
        )
    is_stopped = any(trial.status != "complete" for trial in engine.trials)
    found += _of_not_asked(number, not_asked(engine), is_stopped=is_stopped)
    if number["failed"]:
        miss = "it misses its" if number["failed"] == 1 else "they miss their"
        failed = f"{several(number['failed'], 'turn')} failed; {miss} SLO"
        found.append(f"{failed}: {_reasons(engine)}")
    return found + load_warnings(load)


def _of_not_asked(
    number: Mapping[str, int], unasked: Mapping[str, int], *, is_stopped: bool
) -> list[str]:
    """`is_stopped`: before what was asked for was known."""
    found = []
    of_planned = f"of {number['planned']:,} planned"
    if after := unasked["after_failure"]:
        found.append(
            f"{several(after, 'turn')} {of_planned} were not asked, for an earlier one of the "
            "conversation had failed: missed SLOs too"
        )
    stopped = unasked["not_due"] + unasked["cut_short"]
    if stopped and is_stopped:
        found.append(
            f"{several(stopped, 'turn')} {of_planned} were not asked, or not to the end, for the "
            "run was stopped: neither failed nor missed"
        )
    if gone := number["lost"] - unasked["after_failure"] - unasked["not_due"]:
        found.append(f"{gone:,} {of_planned} turns left no record")
    return found


def _reasons(engine: EngineRun) -> str:
    """Why turns failed, the commonest first."""
    errors = Counter(str(error) for error in engine.all_turns.error if error)
    shown = [f"{count:,} × {error}" for error, count in errors.most_common(NUM_REASONS)]
    rest = len(errors) - len(shown)
    return "; ".join(shown) + (f"; and {rest:,} other reasons" if rest else "")
