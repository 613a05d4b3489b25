"""Verdicts and comparisons as Markdown, for a pull request's comment or a job's summary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from reports.pages.references import reference_line
from reports.words import units
from reports.words.wording import (
    compared_rows,
    comparison_notes,
    entry_name,
    gate_name,
    interval_text,
    settling_text,
    times_interval_text,
    value_text,
    worst_first,
)

Json = Mapping[str, Any]
_SIGN = {"fail": "❌ FAIL", "inconclusive": "⚠️ INCONCLUSIVE", "pass": "✅ PASS"}


def gates_markdown(
    gates: Sequence[Json],
    *,
    title: str,
    warnings: Sequence[str] = (),
    references: Sequence[Json] = (),
) -> str:
    """Returns the verdicts as a table, worst first, under a title that counts them; `references` as
    in metrics.json."""
    counts = {each: sum(gate["outcome"] == each for gate in gates) for each in _SIGN}
    said = ", ".join(f"{count} {each}" for each, count in counts.items() if count)
    rows = [
        (
            _SIGN[gate["outcome"]],
            f"`{gate_name(gate)}`",
            value_text(gate["metric"], gate["observed"]),
            interval_text(gate["metric"], gate["interval"]),
            _bound_text(gate),
            _prose(gate["reason"] + settling_text(gate)),
        )
        for gate in worst_first(gates)
    ]
    header = ("Verdict", "Gate", "Observed", "95 % interval", "Bound", "")
    sections = [_table(header, rows), *_published(references)]
    return _page(f"{title}: {said or 'no gate'}", warnings, sections)


def _bound_text(gate: Json) -> str:
    """Returns `<= 1.5 s`, and whose number it is a multiple of."""
    text = f"{gate['operator']} {value_text(gate['metric'], gate['bound'])}"
    return _prose(text if gate["baseline"] is None else f"{text} from {gate['baseline']}")


def comparison_markdown(comparison: Json, *, has_all: bool = False) -> str:
    """Returns a table for each engine and what it is held against, what got worse first."""
    sections = []
    base_of = {each["label"]: each["baseline"] for each in comparison["sides"]}
    for label, entries in comparison["comparisons"].items():
        rows = [
            (
                each["verdict"],
                f"`{entry_name(each)}`",
                value_text(each["metric"], each["baseline"]),
                value_text(each["metric"], each["value"]),
                units.times(each["ratio"]),
                times_interval_text(each["interval"]),
            )
            for each in compared_rows(entries, has_all=has_all)
        ]
        header = ("", "Metric", "Baseline", "This", "Ratio", "95 % interval")
        against = f"against {_prose(base_of[label])}"
        sections.append(f"### {_prose(label)}\n\n{against}\n\n{_table(header, rows)}")
    sections += _published(comparison.get("references", []))
    notes = [*comparison["warnings"], *comparison_notes(comparison)]
    kind = "paired by conversation" if comparison["is_paired"] else "not paired"
    return _page(f"Comparison ({kind})", notes, sections)


def _page(title: str, warnings: Sequence[str], sections: Sequence[str]) -> str:
    notes = _list(warnings)
    return "\n\n".join([f"## {title}", *([notes] if notes else []), *sections]) + "\n"


def _published(references: Sequence[Json]) -> list[str]:
    """Returns a section, if the workload cites anything."""
    lines = _list([reference_line(each) for each in references])
    return [f"### Published, beside these numbers\n\n{lines}"] if lines else []


def _list(texts: Sequence[str]) -> str:
    return "\n".join(f"* {_prose(text)}" for text in texts)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _prose(text: str) -> str:
    """Escapes what would be read as HTML: a server may have answered some."""
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text).replace("\n", " ")
