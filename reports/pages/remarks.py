"""What of a run's engines is no machine's own doing: simulated, paced, emulated.

The engine's settings say it when the run begins, in one line each, which the manifest keeps:
`LABEL: what is meant by it`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from reports.pages.fact import Fact, joined
from suite.judging.run_comparison import said_once
from suite.records.run_directory import Manifest

Json = Mapping[str, Any]
# For a manifest of before, which has no remarks.
VIRTUAL = "simulated, virtual time: the numbers are a model's, not a machine's"
MODELLED = "simulated GPU, wall time: what a step lasts is a model's answer"


def remarks_of(manifest: Manifest, engines: Iterable[str]) -> dict[str, list[str]]:
    """Returns the remarks on each of the engines."""
    return {name: manifest.remarks.get(name) or _unsaid(manifest, name) for name in engines}


def _unsaid(manifest: Manifest, engine: str) -> list[str]:
    facts = manifest.facts_of(engine)
    if facts.is_virtual:
        return [VIRTUAL]
    return [MODELLED] if facts.is_modelled else []


def remark_facts(said: Iterable[tuple[str, str]], everyone: Collection[str]) -> list[Fact]:
    """Returns a line for each remark of the (engine, remark) pairs, with the engines it is on."""
    return [_fact(joined(names, everyone), text) for text, names in said_once(said).items()]


def _fact(who: str, remark: str) -> Fact:
    label, _, meaning = remark.partition(": ")
    return Fact(outcome="label", label=label, text=f"{who}: {meaning}" if meaning else who)


def remark_pairs(remarks: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Returns (engine, remark) for each remark on each engine."""
    return [(name, text) for name, texts in remarks.items() for text in texts]
