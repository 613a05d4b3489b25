"""Whether a run may be believed at all, and what to know before trusting its numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from reports.pages.fact import Fact, joined
from reports.words import units
from suite.judging.run_comparison import said_once
from suite.plurals import several
from suite.records.run_directory import Trial

Json = Mapping[str, Any]
STATUS = {"interrupted": "was interrupted", "missing": "is missing"}  # others: as they are


def validity(metrics: Json, trials: Sequence[Trial]) -> Fact:
    """Says whether the run may be believed at all; the details stand in the warnings."""
    broken, doubtful, overloaded = [], [], []
    for name, each in metrics["engines"].items():
        if each["status"] != "complete":
            broken.append(f"{name} {STATUS.get(each['status'], each['status'])}")
        counts = each["counts"]
        if counts["recorded"] and counts["failed"] == counts["recorded"]:
            broken.append(f"every turn of {name} failed")
        elif counts["failed"] or counts["lost"]:
            number = counts["failed"] + counts["lost"]
            doubtful.append(f"{name} left {several(number, 'turn')} without a whole answer")
        if not (each.get("pace") or {"is_kept": True})["is_kept"]:
            broken.append(f"{name} missed its pace: this machine was too busy, run again")
        load = each.get("steady_state") or {}
        if load.get("is_overloaded"):
            overloaded.append(name)
        elif load.get("is_steady") is False:
            doubtful.append(f"{name} was not steady: its delays drifted, read the warnings")
    doubtful += _of_drivers(trials)
    if overloaded:
        doubtful.append(f"overloaded, with a backlog that grew to the end: {', '.join(overloaded)}")
    if any(trial.driver is not None and not trial.driver.is_valid for trial in trials):
        broken.append("the load driver was out of its bounds: read the warnings before the numbers")
    if broken:
        text = "; ".join(broken + doubtful)
        return Fact(outcome="fail", label="Not valid", text=text)
    if doubtful:
        return Fact(outcome="inconclusive", label="Read with care", text="; ".join(doubtful))
    return Fact(outcome="pass", label="Valid run", text=_trusted(trials))


def _of_drivers(trials: Sequence[Trial]) -> list[str]:
    """Returns what of the engines' numbers the driver leaves in doubt."""
    drivers = [(trial.engine, trial.driver) for trial in trials if trial.driver is not None]
    said = [
        (name, text)
        for name, driver in drivers
        for text, is_so in (
            ("gaps between tokens of {} can not be judged", driver.tbt_doubt is not None),
            ("TPOT of {} can not be judged", driver.tpot_doubt is not None),
            ("turns of {} were sent late, weighed in each gate and comparison", driver.is_late),
        )
        if is_so
    ]
    return [
        f"{text.format(', '.join(dict.fromkeys(names)))}: read the warnings"
        for text, names in said_once(said).items()
    ]


def _trusted(trials: Sequence[Trial]) -> str:
    said = ["every planned turn left a whole answer"]
    lags = [trial.driver.lag_p99_s for trial in trials if trial.driver]
    longest = [trial.driver.lag_max_s for trial in trials if trial.driver]
    if known := [each for each in lags if each is not None]:
        said.append(f"the driver sent within {units.duration(max(known))} of the plan (P99)")
    elif known := [each for each in longest if each is not None]:
        said.append(f"the driver sent within {units.duration(max(known))} of the plan")
    sources = {trial.driver.time_source for trial in trials if trial.driver is not None}
    if sources == {"kernel"}:
        said.append("tokens stamped by the kernel")
    return ", ".join(said)


def warnings(metrics: Json, besides: Collection[str] = ()) -> list[tuple[str, str]]:
    """Returns (engines, text) pairs, the worst news first: what is missing, then what is doubtful,
    then which percentiles have too few samples. `besides`: texts that are said elsewhere."""
    few = [
        (name, f"{shown}: {reason}")
        for name, each in metrics["engines"].items()
        for key, shown in (("ttft_s", "TTFT"), ("tbt_s", "TBT"))
        for reason in _too_few(each[key])
    ]
    return _once([*_recorded(metrics, besides), *few], metrics)


def recorded_warnings(metrics: Json) -> list[tuple[str, str]]:
    """Returns the (engines, text) pairs that metrics.json holds, remarks on the engines too."""
    return _once(_recorded(metrics), metrics)


def _recorded(metrics: Json, besides: Collection[str] = ()) -> list[tuple[str, str]]:
    return [
        (name, text)
        for name, each in metrics["engines"].items()
        for text in each["warnings"]
        if text not in besides
    ]


def _once(said: Iterable[tuple[str, str]], metrics: Json) -> list[tuple[str, str]]:
    """Joins the engines of which the same is said."""
    return [(joined(names, metrics["engines"]), text) for text, names in said_once(said).items()]


def _too_few(summary: Json) -> list[str]:
    """Returns one line for all percentiles that could not be given, or none."""
    missing = summary["unavailable"]
    if not summary["count"] or not missing:
        return []
    each = [f"{name.replace('p999', 'p99.9').upper()} ({why})" for name, why in missing.items()]
    return [f"too few samples for {', '.join(each)}"]
