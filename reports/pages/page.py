"""What the page says first: who was served, at what cost, what is simulated, whether to believe it.

Made from metrics.json and the manifest alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.pages.entries import entry
from reports.words import units
from reports.words.wording import times_interval_text
from suite.judging.ratios import UNSEEN
from suite.judging.run_comparison import said_once
from suite.measuring.cache_isolation import NOTE
from suite.plurals import several
from suite.records.run_directory import Manifest, Trial

Json = Mapping[str, Any]
NO_BREAK = "\N{NO-BREAK SPACE}"
STATUS = {"interrupted": "was interrupted", "missing": "is missing"}  # others: as they are
ORDER = ("fail", "inconclusive", "none", "pass")  # the worst first
USERS = "slo.users_within_slo_ratio"
THESE_ALONE = "so with these conversations, not surely with others"
# What of an engine's settings somebody has to pay for: key ▸ how it reads.
COSTS = {
    "model": "model",
    "profile": "GPU",
    "torch_device": "device",
    "num_threads": "threads",
    "dtype": "number format",
    "kv_tokens": "KV cache tokens",
    "swap_tokens": "host swap tokens",
    "kv_offload_gib": "host KV GiB",
    "pace": "pace",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    outcome: str  # pass, fail, inconclusive, none
    label: str
    headline: str
    contrast: str  # what the intervals allow to say; empty without a comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One line of the first screen with a mark before it."""

    outcome: str  # pass, fail, inconclusive, none
    label: str
    text: str


def verdict(metrics: Json) -> Verdict:
    outcomes = [gate["outcome"] for gate in metrics["gates"]]
    outcome, label = "none", "No gates"
    if outcomes:
        outcome = next(each for each in ("fail", "inconclusive", "pass") if each in outcomes)
        number = outcomes.count(outcome)
        word = {"fail": "failed", "inconclusive": "inconclusive", "pass": "passed"}[outcome]
        label = f"{number} of {len(outcomes)} gate checks {word}"
    return Verdict(
        outcome=outcome,
        label=label,
        headline=_headline(metrics["engines"]),
        contrast=_contrast(metrics),
    )


def _headline(engines: Json) -> str:
    """In the manifest's order: a ranking would name a winner where there may be none."""
    known = {name: each["slo"] for name, each in engines.items() if each["slo"]}
    if not known:
        return "Nothing was measured."
    parts = [
        f"{name} {units.percent(slo['users_within_slo_ratio'])}" for name, slo in known.items()
    ]
    said = f"Users kept within their SLO: {', '.join(parts)}."
    return said.replace(" %", f"{NO_BREAK}%")


def _contrast(metrics: Json) -> str:
    """What is said of several engines in the same words stands once."""
    baseline = metrics["baseline"]
    said: dict[str, list[str]] = {}
    for name in metrics["engines"]:
        found = entry(metrics, name, USERS)
        if found is None or found["ratio"] is None:
            continue
        ratio = f"{units.times(found['ratio'])}, 95 % {times_interval_text(found['interval'])}"
        more = "more" if found["ratio"] > 1 else "fewer"
        kept = f"kept {more} users than {baseline} ({ratio})"
        if found["reason"] == UNSEEN:
            text = f"{kept}, but {UNSEEN}."
        elif found["reason"] == NOTE:
            text = f"can not be held against {baseline}: {NOTE}."
        elif found["verdict"] == "same":
            text = f"kept as many users as {baseline}."
        elif found["verdict"] not in ("better", "worse"):
            text = f"cannot be told apart from {baseline} by this run ({ratio})."
        elif holds_one(found["interval"]):
            # A run in virtual time is called by its point: it would come out alike, on this plan.
            text = f"{kept}: {THESE_ALONE}."
        else:
            text = f"{kept}."
        said.setdefault(text, []).append(name)
    return " ".join(f"{_listed(names)} {text}" for text, names in said.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def holds_one(interval: Sequence[float | None] | None) -> bool:
    low, high = interval or (None, None)
    return (low is None or low <= 1) and (high is None or high >= 1)


def first_screen(metrics: Json, manifest: Manifest) -> list[Fact]:
    """The verdict's marks, the worst news first."""
    said = verdict(metrics)
    facts = [
        Fact(outcome=said.outcome, label=said.label, text=""),
        validity(metrics, manifest.trials),
        cost(manifest),
    ]
    return sorted(facts, key=lambda fact: ORDER.index(fact.outcome))


def warnings(metrics: Json) -> list[tuple[str, str]]:
    """(engines, text), the worst news first: what is missing, then what is doubtful; what is said
    of several engines stands once."""
    found = [(name, text) for name, each in metrics["engines"].items() for text in each["warnings"]]
    few = [
        (name, f"{shown}: {reason}")
        for name, each in metrics["engines"].items()
        for key, shown in (("ttft_s", "TTFT"), ("tbt_s", "TBT"))
        for reason in _too_few(each[key])
    ]
    once = said_once(found + few)
    return [(joined(names, metrics["engines"]), text) for text, names in once.items()]


def joined(names: Sequence[str], engines: Collection[str]) -> str:
    """What holds for each of three or more needs no list of their names."""
    everyone = set(names) == set(engines) and len(names) > 2
    return "every engine" if everyone else ", ".join(names)


def _too_few(summary: Json) -> list[str]:
    """One line for all percentiles that could not be given."""
    missing = summary["unavailable"]
    if not summary["count"] or not missing:
        return []
    names = ", ".join(name.replace("p999", "p99.9").upper() for name in missing)
    return [f"too few samples for {names} ({list(missing.values())[-1]})"]


def labels(manifest: Manifest) -> list[tuple[str, str]]:
    """(label, the engines it holds for): what of the numbers is not a machine's own."""
    found: dict[str, list[str]] = {}
    for name in manifest.engines:
        facts = manifest.facts_of(name)
        if facts.is_paced:
            found.setdefault("real tokens, modelled durations", []).append(name)
        elif facts.is_modelled:
            label = "simulated, virtual time" if facts.is_virtual else "simulated GPU, wall time"
            found.setdefault(label, []).append(name)
    return [(label, joined(names, manifest.engines)) for label, names in found.items()]


def cost(manifest: Manifest) -> Fact:
    """Whether the engines were given the same to work with: without that, more users served is
    no merit."""
    engines = manifest.engines
    unknown = [name for name in engines if manifest.facts_of(name).is_attached]
    if unknown:
        who = ", ".join(unknown)
        text = f"not known: {who} was attached to, not started; make sure it costs the same"
        return Fact(outcome="inconclusive", label="Cost", text=text)
    same, differ, alone = [], [], []
    for key, word in COSTS.items():
        # What a kind has no setting for is not "none" of it: it is not known.
        values = {name: each[key] for name, each in engines.items() if key in each}
        if all(value is None for value in values.values()):
            continue
        each = _by_value(values)
        if len({repr(value) for value in values.values()}) > 1:
            differ.append(f"{word} {each}")
        elif len(values) < len(engines):
            alone.append(f"{word} {each}")
        else:
            same.append(f"{word} {_cost_value(next(iter(values.values())))}")
    of_some_kinds = [f"not a setting of every kind: {', '.join(alone)}"] if alone else []
    if differ:
        text = "; ".join([*differ, *of_some_kinds])
        return Fact(outcome="inconclusive", label="Unequal cost", text=text)
    if alone:
        return Fact(outcome="inconclusive", label="Cost", text="; ".join([*same, *of_some_kinds]))
    label = "Equal cost" if len(engines) > 1 else "Cost"  # of one there is nothing to be equal to
    return Fact(outcome="pass", label=label, text="; ".join(same) or "the same settings")


def _by_value(values: Mapping[str, object]) -> str:
    """`8,192 (a, b), 4,096 (c)`: each value once, with the engines that have it."""
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(_cost_value(value), []).append(name)
    return ", ".join(f"{value} ({', '.join(each)})" for value, each in names.items())


def _cost_value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{key} {_cost_value(each)}" for key, each in value.items())
    return units.count(value) if isinstance(value, int | float) else str(value)


def validity(metrics: Json, trials: Sequence[Trial]) -> Fact:
    """Whether the run may be believed at all; the details stand in the warnings."""
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
        if (each.get("steady_state") or {}).get("is_overloaded"):
            overloaded.append(name)
    gaps = [each.engine for each in trials if each.driver is not None and each.driver.tbt_doubt]
    if gaps:
        names = ", ".join(dict.fromkeys(gaps))
        doubtful.append(f"gaps between tokens of {names} can not be judged: read the warnings")
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


def _trusted(trials: Sequence[Trial]) -> str:
    said = ["every planned turn left a whole answer"]
    lags = [trial.driver.lag_p99_s for trial in trials if trial.driver and trial.driver.lag_p99_s]
    if lags:
        said.append(f"the driver sent within {units.duration(max(lags))} of the plan (P99)")
    sources = {trial.driver.time_source for trial in trials if trial.driver is not None}
    if sources == {"kernel"}:
        said.append("tokens stamped by the kernel")
    return ", ".join(said)
