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
# A manifest of before has no remarks, and yet its numbers say that they came out of no real time.
UNSAID = "virtual time: the numbers are those of a model, not of a machine"


def remarks_of(manifest: Manifest, engines: Json) -> dict[str, list[str]]:
    """Returns the remarks on each engine; `engines` as in metrics.json."""
    return {
        name: manifest.remarks.get(name) or ([UNSAID] if each["is_exact"] else [])
        for name, each in engines.items()
    }


def remark_facts(said: Iterable[tuple[str, str]], everyone: Collection[str]) -> list[Fact]:
    """Returns a line for each remark of the (engine, remark) pairs, with the engines it is on."""
    return [_fact(joined(names, everyone), text) for text, names in said_once(said).items()]


def _fact(who: str, remark: str) -> Fact:
    label, _, meaning = remark.partition(": ")
    return Fact(outcome="label", label=label, text=f"{who}: {meaning}" if meaning else who)


def remark_pairs(remarks: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Returns (engine, remark) for each remark on each engine."""
    return [(name, text) for name, texts in remarks.items() for text in texts]
