"""How many turns have no whole answer, and why: in few words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reports.words import units

Json = Mapping[str, Any]


def unwhole_turns(engine: Json) -> str:
    """Returns `2 failed, 3 not asked`; `lost` are those that nobody knows the reason of."""
    counts, unasked = engine["counts"], engine.get("not_asked") or {}
    known = unasked.get("after_failure", 0) + unasked.get("not_due", 0)
    not_asked = known + unasked.get("cut_short", 0)
    said = [f"{units.count(counts['failed'])} failed"]
    if not_asked:
        said.append(f"{units.count(not_asked)} not asked")
    if counts["lost"] > known or not not_asked:
        said.append(f"{units.count(counts['lost'] - known)} lost")
    if not_begun := counts.get("not_begun"):
        said.append(f"{units.count(not_begun)} not begun, as planned")
    return ", ".join(said)
