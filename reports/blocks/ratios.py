"""Blocks on what is held against what: gates against bounds, candidates against the baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reports.blocks.block import Block, Figure
from reports.figures.ratios import ratio_intervals
from reports.words import units
from reports.words.wording import (
    entry_name,
    gate_name,
    interval_text,
    times_interval_text,
    value_text,
)

Json = Mapping[str, Any]
# What of a comparison is drawn; the table holds all of it.
DRAWN = (
    "slo.users_within_slo_ratio",
    "slo.turn_attainment_ratio",
    *(f"{name}.{each}" for name in ("ttft", "tbt") for each in ("p50", "p99", "p999")),
    "max_tbt.p99",
    "e2e.p99",
    "throughput.output_tokens_per_s",
    "fairness.jain_index",
)
EXACT_NOTE = "Runs in virtual time always come out alike: they are told apart by the number alone."


def gate_bounds(gates: Sequence[Json]) -> Block:
    """Times the bound, turned so that to the left of 1 is kept; a bound of 0 has no multiple."""
    rows = [_gate_row(gate) for gate in gates if _has_multiple(gate)]
    left_out = len(gates) - len(rows)
    note = f"{left_out} with a bound or a value of 0, or without a value, stand in the table only."
    figure = Figure(
        figure_id="ratios-gates",
        title="Observed against the bound",
        note=note if left_out else "",
        figure=ratio_intervals(rows, "observed, in multiples of the bound"),
    )
    return Block(
        title="Gates against their bounds",
        term="gates",
        how_to_read="Left of the dashed line the bound is kept. A whisker that crosses the line: "
        "inconclusive, more conversations or repeats would tell.",
        figures=(figure,) if rows else (),
    )


def _has_multiple(gate: Json) -> bool:
    return bool(gate["observed"]) and bool(gate["bound"])


def _gate_row(gate: Json) -> tuple[str, float, units.Ends | None, str, str]:
    metric, is_upper = gate["metric"], gate["operator"].startswith("<")
    bound: float = gate["bound"]

    def multiple(value: float) -> float:
        return value / bound if is_upper else bound / max(value, 1e-12)

    ends = gate["interval"]
    if ends is not None:
        low, high = (None if end is None else multiple(end) for end in ends)
        ends = (low, high) if is_upper else (high, low)
    words = (
        f"{value_text(metric, gate['observed'])} ({interval_text(metric, gate['interval'])}), "
        f"bound {gate['operator']} {value_text(metric, gate['bound'])}: {gate['outcome']}"
    )
    return gate_name(gate), multiple(gate["observed"]), ends, gate["outcome"], words


def bases(comparison: Json) -> dict[str, str]:
    """What each candidate is held against, by label."""
    held = (each for each in comparison["sides"] if each["baseline"] is not None)
    return {each["label"]: each["baseline"] for each in held}


def comparison_blocks(comparison: Json) -> list[Block]:
    """One figure a candidate."""
    base_of = bases(comparison)
    is_exact = all(each.get("is_exact") for each in comparison["sides"])
    figures = [
        Figure(
            figure_id=f"ratios-{label}",
            title=f"{label} / {base_of[label]}",
            note=EXACT_NOTE if is_exact else "",
            figure=ratio_intervals(rows, f"in multiples of {base_of[label]}"),
        )
        for label, entries in comparison["comparisons"].items()
        if (rows := [_entry_row(each) for each in _drawn(entries)])
    ]
    crossing = (
        "how far it could be off with other conversations"
        if is_exact
        else "and one that crosses the dashed line does not tell the two apart"
    )
    block = Block(
        title="Candidate against baseline",
        term="comparison",
        how_to_read="The candidate's number in multiples of the baseline's, on a log scale; "
        f"whiskers are 95 % intervals, {crossing}. One that leaves the figure is open: too few "
        "samples to bound it. Shares, throughput and Jain's index are better to the right, "
        "latencies to the left.",
        figures=tuple(figures),
    )
    return [block] if figures else []


def _drawn(entries: Sequence[Json]) -> list[Json]:
    """In the order of DRAWN; all users first, then of the classes what they were promised."""
    known = [
        each
        for each in entries
        if each["metric"] in DRAWN
        and each["ratio"]
        and (each["user_class"] is None or each["metric"].startswith("slo"))
    ]
    return sorted(
        known, key=lambda each: (each["user_class"] is not None, DRAWN.index(each["metric"]))
    )


def _entry_row(entry: Json) -> tuple[str, float, units.Ends | None, str, str]:
    before, after = (value_text(entry["metric"], entry[key]) for key in ("baseline", "value"))
    text = (
        f"{before} → {after}: {units.times(entry['ratio'])} "
        f"({times_interval_text(entry['interval'])}), {entry['verdict']}"
    )
    return entry_name(entry), entry["ratio"], entry["interval"], entry["verdict"], text
