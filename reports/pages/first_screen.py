"""What a run's page says first: how many users each engine kept, and what the gates said.

Made from metrics.json and the manifest alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.pages.compared import entry
from reports.pages.cost import cost
from reports.pages.fact import ORDER, Fact
from reports.pages.validity import validity
from reports.words import units
from reports.words.wording import times_interval_text
from suite.judging.ratios import UNSEEN
from suite.measuring.cache_isolation import NOTE
from suite.records.run_directory import Manifest

Json = Mapping[str, Any]
NO_BREAK = "\N{NO-BREAK SPACE}"
USERS = "slo.users_within_slo_ratio"
UNCAPPED = "users_within_slo_uncapped_ratio"
MOST_NAMED = 4  # engines that a sentence names one by one; of more it says the least and the most
THESE_ALONE = "so with these conversations, not surely with others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    outcome: str  # pass, fail, inconclusive, none
    label: str
    headline: str
    extremes: str  # what the longest gap and wait were, which no share of users shows
    contrast: list[str]  # what the intervals allow to say, a sentence each


def verdict(metrics: Json) -> Verdict:
    """Returns the worst outcome of the gates, and what the numbers say of the users."""
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
        extremes=extremes(metrics["engines"]),
        contrast=_contrast(metrics),
    )


def _headline(engines: Json) -> str:
    """Names engines in the manifest's order: a ranking would make a winner of who may be none."""
    known = {name: each["slo"] for name, each in engines.items() if each["slo"]}
    if not known:
        return "Nothing was measured."
    shares = {name: slo["users_within_slo_ratio"] for name, slo in known.items()}
    parts = [f"{name} {units.percent(share)}" for name, share in shares.items()]
    said = f"Users kept within their SLO: {', '.join(parts)}."
    if len(shares) > MOST_NAMED:
        said = f"Users kept within their SLO by {len(shares)} engines: {_range_of(shares)}."
    return said.replace(" %", f"{NO_BREAK}%")


def _range_of(shares: Mapping[str, float]) -> str:
    """Returns the least and the most with the engines that have them."""
    ends = min(shares.values()), max(shares.values())
    least, most = (
        f"{units.percent(end)} ({_listed([name for name, each in shares.items() if each == end])})"
        for end in ends
    )
    return least if ends[0] == ends[1] else f"from {least} to {most}"


def extremes(engines: Json) -> str:
    """Returns what stands beside every headline of users within SLO: each engine's longest gap and
    wait, and what share would be within it were longest gaps left out of account, where that is
    another. Empty where nothing was measured."""
    known = {name: each for name, each in engines.items() if each["slo"] and each["fairness"]}
    if not known:
        return ""
    if len(known) > MOST_NAMED:
        gap, wait = (_longest(known, key) for key in ("longest_gap_s", "longest_wait_s"))
        said = f"Longest gap of all: {gap}; longest wait: {wait}; each engine's stand in its card."
    else:
        pairs = (
            f"{name} {units.duration(each['fairness']['longest_gap_s'])} and "
            f"{units.duration(each['fairness']['longest_wait_s'])}"
            for name, each in known.items()
        )
        said = f"Longest gap and longest wait: {', '.join(pairs)}."
    shares = {name: each["slo"].get(UNCAPPED) for name, each in known.items()}
    other = [
        f"{name} {units.percent(share)}"
        for name, share in shares.items()
        if share is not None and share != known[name]["slo"]["users_within_slo_ratio"]
    ]
    if other:
        said += f" Were gaps not capped: {', '.join(other)} of the users."
    return said.replace(" %", f"{NO_BREAK}%")


def _longest(engines: Mapping[str, Json], key: str) -> str:
    """Returns the longest of a duration, with the engine that has it."""
    known = {name: each["fairness"][key] for name, each in engines.items()}
    name = max(known, key=lambda each: known[each] or 0.0)
    return f"{units.duration(known[name])} ({name})"


def _contrast(metrics: Json) -> list[str]:
    """Holds each engine against the baseline; what is said of several engines stands once."""
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
    return [f"{_listed(names)} {text}" for text, names in said.items()]


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def holds_one(interval: Sequence[float | None] | None) -> bool:
    """Whether an interval of a ratio allows that there is no difference; an open end does."""
    low, high = interval or (None, None)
    return (low is None or low <= 1) and (high is None or high >= 1)


def first_screen(metrics: Json, manifest: Manifest) -> list[Fact]:
    """Returns the lines below the verdict, the worst news first."""
    said = verdict(metrics)
    facts = [
        Fact(outcome=said.outcome, label=said.label, text=""),
        validity(metrics, manifest.trials),
        cost(manifest),
    ]
    return sorted(facts, key=lambda fact: ORDER.index(fact.outcome))
