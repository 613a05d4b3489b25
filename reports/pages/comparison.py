"""Runs held against each other as one offline file, made from the comparison's JSON alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from reports.pages import first_screen
from reports.pages.html_file import write_page
from reports.pages.references import cited_tables
from reports.pages.remarks import remark_facts, remark_pairs
from reports.pages.tables import Cell, Table, gate_table, sort_key
from reports.sections.ratios import baselines_of, comparison_sections, gate_bounds
from reports.words import units
from reports.words.wording import (
    VERDICTS,
    entry_name,
    interval_text,
    times_interval_text,
    value_text,
)

Json = Mapping[str, Any]
MARKS = {"better": "pass", "worse": "fail", "unclear": "inconclusive"}
USERS = "slo.users_within_slo_ratio"


def write_comparison(comparison: Json, path: Path, gates: Sequence[Json] = ()) -> Path:
    """Writes the page. `comparison` as in docs/metrics.md, Comparisons; `gates`: the outcomes
    against the same baseline, if any were judged."""
    comparison = _relabelled(comparison)
    labels = [each["label"] for each in comparison["sides"]]
    remarks = {each["label"]: each.get("remarks", []) for each in comparison["sides"]}
    base_of = baselines_of(comparison)
    bounds = gate_bounds(gates)
    return write_page(
        path,
        "comparison.html.j2",
        sections=[*comparison_sections(comparison), *([bounds] if bounds.figures else [])],
        title=_title(base_of),
        comparison=comparison,
        remarks=remark_facts(remark_pairs(remarks), labels),
        warnings=_warnings(comparison["warnings"], remarks),
        base_of=base_of,
        summaries=[_summary(label, each) for label, each in comparison["comparisons"].items()],
        tables=[
            (label, _table(entries, base_of[label], label))
            for label, entries in comparison["comparisons"].items()
        ],
        gates=gate_table(gates) if gates else None,
        cited=cited_tables(comparison.get("references", [])),
        sides=_sides_table(comparison["sides"]),
    )


def _warnings(warnings: Sequence[str], remarks: Mapping[str, Sequence[str]]) -> list[str]:
    """Returns the warnings (`WHO: TEXT`) without the remarks, which the first screen says."""
    said = {f": {text}" for _, text in remark_pairs(remarks)}
    return [each for each in warnings if not each.endswith(tuple(said))]


def _relabelled(comparison: Json) -> Json:
    """Returns the comparison without what all labels begin with (a directory, a run), which the
    table of the sides says."""
    labels = [each["label"] for each in comparison["sides"]]
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*labels, strict=False))
    start = max(place for place, (letter, *_) in enumerate([(":",), *same]) if letter in "/:")
    sides = [
        {
            **each,
            "label": each["label"][start:],
            "baseline": None if each["baseline"] is None else each["baseline"][start:],
        }
        for each in comparison["sides"]
    ]
    entries = {label[start:]: each for label, each in comparison["comparisons"].items()}
    return {**comparison, "sides": sides, "comparisons": entries}


def _title(base_of: Mapping[str, str]) -> str:
    if len(set(base_of.values())) == 1:
        return f"{', '.join(base_of)} against {next(iter(base_of.values()))}"
    return f"{len(base_of)} engines, each against its baseline"


def _summary(label: str, entries: Sequence[Json]) -> tuple[str, str, str]:
    """Returns the candidate, what the first screen says of it, and the outcome for its colour."""
    users = next(
        (each for each in entries if each["metric"] == USERS and each["user_class"] is None), None
    )
    counts = Counter(each["verdict"] for each in entries)
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in VERDICTS if counts[verdict])
    if users is None or users["ratio"] is None:
        return label, f"Of {len(entries)} numbers: {said}.", "none"
    alone = users["verdict"] in ("better", "worse") and first_screen.holds_one(users["interval"])
    text = (
        f"Users within SLO {units.percent(users['baseline'])} → {units.percent(users['value'])}, "
        f"{units.times(users['ratio'])} (95 % {times_interval_text(users['interval'])}): "
        f"{users['verdict']}{f', {first_screen.THESE_ALONE}' if alone else ''}. "
        f"{_extremes(entries)}"
        f"Of {len(entries)} numbers: {said}."
    )
    return label, text, MARKS.get(users["verdict"], "none")


def _extremes(entries: Sequence[Json]) -> str:
    """Returns what stands beside every headline of users: longest gap and wait on both sides."""
    found = {each["metric"]: each for each in entries if each["user_class"] is None}
    said = [
        f"{word} {units.duration(each['baseline'])} → {units.duration(each['value'])}"
        for word in ("gap", "wait")
        if (each := found.get(f"fairness.longest_{word}_s")) is not None
        and each["baseline"] is not None
        and each["value"] is not None
    ]
    return f"Longest {', longest '.join(said)}. " if said else ""


def _table(entries: Sequence[Json], baseline: str, label: str) -> Table:
    """Returns a line a metric, the worst news first."""
    numbers = ("Metric", "Verdict", baseline, label, "Ratio")
    columns = (*numbers, "Judged by, 95 %", "Within the runs", "Between runs")
    ordered = sorted(entries, key=lambda each: VERDICTS.index(each["verdict"]))
    return Table(columns=columns, rows=tuple(_row(each) for each in ordered))


def _row(entry: Json) -> tuple[Cell, ...]:
    metric = entry["metric"]
    between = entry["between_runs"] or {}
    return (
        Cell(text=entry_name(entry), mark="code"),
        Cell(
            text=entry["verdict"],
            detail=entry["reason"],
            mark=MARKS.get(entry["verdict"], "none"),
        ),
        *(
            Cell(
                text=value_text(metric, entry[key]),
                detail=interval_text(metric, entry[f"{key}_interval"])
                if entry[f"{key}_interval"]
                else "",
                sort_key=sort_key(entry[key]),
            )
            for key in ("baseline", "value")
        ),
        Cell(text=units.times(entry["ratio"]), sort_key=sort_key(entry["ratio"])),
        Cell(text=times_interval_text(entry["interval"])),
        Cell(text=times_interval_text(entry.get("within_runs"))),
        Cell(text=times_interval_text(between.get("interval")) if between else units.MISSING),
    )


def _sides_table(sides: Sequence[Json]) -> Table:
    """Returns what was compared: where it lies, which plan, how much of it."""
    keys = ("label", "engine", "status", "created_at", "num_conversations", "repeats", "run")
    titles = ("Side", "Engine", "Status", "Created", "Conversations", "Repeats", "Run", "Plan")
    return Table(
        columns=titles,
        rows=tuple(
            (
                *(Cell(text=_text(side.get(key))) for key in keys),
                Cell(text=str(side["plan_digest"])[:12], mark="code"),
            )
            for side in sides
        ),
    )


def _text(value: object) -> str:
    if value is None:
        return units.MISSING
    return units.count(value) if isinstance(value, int | float) else str(value)
