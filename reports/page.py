"""What the page shows, as values: headline, cards, tables. Made from metrics.json alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from reports import units
from reports.palette import Look

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    engine: str
    colour: str
    value: str
    detail: str  # small print behind the value: interval, samples, or why there is none
    fill_ratio: float | None  # length of the bar, 0–1


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    title: str
    term: str  # key of the glossary
    rows: tuple[CardRow, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    text: str
    detail: str = ""
    sort_key: float | str = ""
    mark: str = ""  # CSS class: pass, fail, inconclusive, best


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    outcome: str  # pass, fail, inconclusive, none
    label: str
    headline: str


def verdict(metrics: Json) -> Verdict:
    outcomes = [gate["outcome"] for gate in metrics["gates"]]
    headline = _headline(metrics["engines"])
    if not outcomes:
        return Verdict(outcome="none", label="No gates", headline=headline)
    passed = f"{outcomes.count('pass')} of {len(outcomes)} gate checks passed"
    for outcome in ("fail", "inconclusive"):
        if number := outcomes.count(outcome):
            word = "failed" if outcome == "fail" else "inconclusive"
            return Verdict(
                outcome=outcome, label=f"{number} {word}", headline=f"{headline} {passed}."
            )
    return Verdict(outcome="pass", label="All passed", headline=f"{headline} {passed}.")


def _headline(engines: Json) -> str:
    known = {
        name: each["slo"]["users_within_slo_ratio"] for name, each in engines.items() if each["slo"]
    }
    if not known:
        return "Nothing was measured."
    ordered = sorted(known.items(), key=lambda item: -item[1])
    parts = [f"{name} {units.percent(ratio)}" for name, ratio in ordered]
    return f"Users kept within their SLO: {', '.join(parts)}."


def warnings(metrics: Json) -> list[tuple[str, str]]:
    """(engine, text), the worst news first: what is missing, then what is doubtful."""
    found = [(name, text) for name, each in metrics["engines"].items() for text in each["warnings"]]
    few = [
        (name, f"{shown}: {reason}")
        for name, each in metrics["engines"].items()
        for key, shown in (("ttft_s", "TTFT"), ("tbt_s", "TBT"))
        for reason in _too_few(each[key])
    ]
    return found + few


def _too_few(summary: Json) -> list[str]:
    """One line for all percentiles that could not be given."""
    missing = summary["unavailable"]
    if not summary["count"] or not missing:
        return []
    names = ", ".join(name.replace("p999", "p99.9").upper() for name in missing)
    return [f"too few samples for {names} ({list(missing.values())[-1]})"]


def cards(metrics: Json, look: Mapping[str, Look]) -> list[Card]:
    engines = metrics["engines"]
    specs: list[tuple[str, str, Callable[[Json], tuple[str, str, float | None]]]] = [
        ("Users within SLO", "users_within_slo", _users_within),
        ("P99 TTFT", "ttft", lambda each: _percentile(each["ttft_s"], "p99")),
        ("P99.9 TBT", "tbt", lambda each: _percentile(each["tbt_s"], "p999")),
        ("Preemptions", "preemptions", _preemptions),
        ("Failed or lost turns", "failed_lost", _failed_or_lost),
    ]
    made = []
    for title, term, read in specs:
        values = {name: read(each) for name, each in engines.items()}
        largest = max((value for _, _, value in values.values() if value is not None), default=0.0)
        scale = 1.0 if term == "users_within_slo" else largest
        rows = tuple(
            CardRow(
                engine=name,
                colour=look[name].colour,
                value=text,
                detail=detail,
                fill_ratio=value / scale if value is not None and scale else None,
            )
            for name, (text, detail, value) in values.items()
        )
        made.append(Card(title=title, term=term, rows=rows))
    return made


def _users_within(engine: Json) -> tuple[str, str, float | None]:
    slo = engine["slo"]
    if slo is None:
        return units.MISSING, engine["unavailable"]["slo"], None
    ratio = slo["users_within_slo_ratio"]
    text = f"{units.count(slo['num_users_within_slo'])} of {units.count(slo['num_users'])}"
    return units.percent(ratio), text, ratio


def _percentile(summary: Json, name: str) -> tuple[str, str, float | None]:
    value = summary[name]
    if value is None:
        return units.MISSING, summary["unavailable"][name], None
    return units.duration(value), units.duration_interval(summary["interval"][name]), value


def _preemptions(engine: Json) -> tuple[str, str, float | None]:
    switch = engine["context_switch"]
    if switch is None:
        return units.MISSING, engine["unavailable"]["context_switch"], None
    number = switch["num_preemptions"]
    return units.count(number), f"stalled {units.percent(switch['stall_ratio'])}", number


def _failed_or_lost(engine: Json) -> tuple[str, str, float | None]:
    counts = engine["counts"]
    number = counts["failed"] + counts["lost"]
    detail = f"{units.count(counts['failed'])} failed, {units.count(counts['lost'])} lost"
    return units.count(number), f"{detail}, of {units.count(counts['planned'])}", number


def gate_table(gates: Sequence[Json]) -> Table:
    return Table(
        columns=("Verdict", "Gate", "Engine", "Observed", "95 % interval", "Bound", "Samples"),
        rows=tuple(_gate_row(gate) for gate in gates),
    )


def gate_value(gate: Json, value: float | None) -> str:
    """A gate's observed value or bound, in the unit of its metric."""
    if gate["unit"] == "s":
        return units.duration(value)
    return units.percent(value) if gate["metric"].endswith("_ratio") else units.count(value)


def _gate_row(gate: Json) -> tuple[Cell, ...]:
    interval = gate["interval"]
    return (
        Cell(text=gate["outcome"].upper(), mark=gate["outcome"]),
        Cell(text=gate["gate"], detail=gate["reason"], mark="code"),
        Cell(text=gate["engine"]),
        Cell(text=gate_value(gate, gate["observed"]), sort_key=_key(gate["observed"])),
        Cell(text=units.duration_interval(interval) if interval else units.MISSING),
        Cell(
            text=f"{gate['operator']} {gate_value(gate, gate['bound'])}",
            sort_key=_key(gate["bound"]),
        ),
        Cell(text=units.count(gate["num_samples"]), sort_key=_key(gate["num_samples"])),
    )


def _key(value: float | None) -> float | str:
    return "" if value is None else value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the comparison: where the number lies, how it reads, which way is better."""

    title: str
    path: tuple[str, ...]
    show: Callable[[float | None], str]
    better: int  # −1 smaller, +1 larger, 0 neither


_LINES = (
    _Line(
        title="Users within SLO",
        path=("slo", "users_within_slo_ratio"),
        show=units.percent,
        better=1,
    ),
    _Line(
        title="Turns within SLO",
        path=("slo", "turn_attainment_ratio"),
        show=units.percent,
        better=1,
    ),
    *(
        _Line(title=f"{name} {label}", path=(key, percentile), show=units.duration, better=-1)
        for name, key in (("TTFT", "ttft_s"), ("TBT", "tbt_s"))
        for label, percentile in (("P50", "p50"), ("P99", "p99"), ("P99.9", "p999"))
    ),
    _Line(title="TPOT P50", path=("tpot_s", "p50"), show=units.duration, better=-1),
    _Line(title="End-to-end P99", path=("e2e_s", "p99"), show=units.duration, better=-1),
    _Line(title="Longest gap", path=("fairness", "longest_gap_s"), show=units.duration, better=-1),
    _Line(
        title="Output tokens/s",
        path=("throughput", "output_tokens_per_s"),
        show=units.count,
        better=1,
    ),
    _Line(title="Tokens a chunk", path=("tokens_per_chunk_mean",), show=units.count, better=0),
    _Line(
        title="Jain's index (attainment)",
        path=("fairness", "jain_index"),
        show=units.count,
        better=1,
    ),
    _Line(
        title="Worst user's attainment",
        path=("fairness", "worst_user_attainment_ratio"),
        show=units.percent,
        better=1,
    ),
    _Line(
        title="Preemptions", path=("context_switch", "num_preemptions"), show=units.count, better=0
    ),
    _Line(
        title="Stalled for transfers",
        path=("context_switch", "stall_ratio"),
        show=units.percent,
        better=-1,
    ),
    *(
        _Line(
            title=f"Latency spent {name}",
            path=("context_switch", "latency_shares", key),
            show=units.percent,
            better=-1,
        )
        for name, key in (
            ("preempted", "preempted_ratio"),
            ("waiting for swap-ins", "swap_wait_ratio"),
        )
    ),
    _Line(
        title="Blocks per copy",
        path=("context_switch", "mean_blocks_per_copy"),
        show=units.count,
        better=1,
    ),
    *(
        _Line(
            title=f"{name} bandwidth",
            path=("context_switch", key),
            show=units.rate,
            better=1,
        )
        for name, key in (("Swap-out", "swap_out_bytes_per_s"), ("Swap-in", "swap_in_bytes_per_s"))
    ),
    _Line(
        title="Transfers waited for in conflict",
        path=("context_switch", "num_conflicts"),
        show=units.count,
        better=0,
    ),
    _Line(
        title="Prompt tokens reused",
        path=("context_switch", "reused_tokens_ratio"),
        show=units.percent,
        better=1,
    ),
)


def comparison_table(metrics: Json) -> Table:
    """Engines as columns; beside each value its multiple of the baseline's."""
    engines, baseline = metrics["engines"], metrics["baseline"]
    return Table(
        columns=("", *(f"{name} (baseline)" if name == baseline else name for name in engines)),
        rows=tuple(_comparison_row(line, engines, baseline) for line in _LINES),
    )


def _comparison_row(line: _Line, engines: Json, baseline: str | None) -> tuple[Cell, ...]:
    values = {name: _at(each, line.path) for name, each in engines.items()}
    known = [value for value in values.values() if value is not None]
    best = max(known, key=lambda value: line.better * value) if known and line.better else None
    base = values.get(baseline) if baseline else None
    return (
        Cell(text=line.title),
        *(
            Cell(
                text=line.show(value),
                detail=units.times(value / base)
                if value is not None and base and name != baseline
                else "",
                sort_key=_key(value),
                mark="best"
                if best is not None and value == best and min(known) < max(known)
                else "",
            )
            for name, value in values.items()
        ),
    )


def _at(engine: Json, path: tuple[str, ...]) -> float | None:
    """None where any group on the way was not measured."""
    found: Any = engine
    for key in path:
        found = (found or {}).get(key)
    return cast("float | None", found)


def class_table(metrics: Json) -> Table:
    columns = ("Engine", "User class", "Users within SLO", "Turns within SLO")
    return Table(
        columns=(*columns, "TTFT P50", "TTFT P99", "TBT P99", "TBT P99.9", "Turns"),
        rows=tuple(
            _class_row(name, user_class, engine)
            for name, engine in metrics["engines"].items()
            for user_class in engine["by_class"]
        ),
    )


def _class_row(name: str, user_class: str, engine: Json) -> tuple[Cell, ...]:
    slo = engine["slo"]["by_class"][user_class] if engine["slo"] else {}
    latencies = engine["by_class"][user_class]
    ratios = [slo.get("users_within_slo_ratio"), slo.get("turn_attainment_ratio")]
    tails = [
        latencies[key][percentile]
        for key, percentile in (
            ("ttft_s", "p50"),
            ("ttft_s", "p99"),
            ("tbt_s", "p99"),
            ("tbt_s", "p999"),
        )
    ]
    return (
        Cell(text=name),
        Cell(text=user_class),
        *(Cell(text=units.percent(ratio), sort_key=_key(ratio)) for ratio in ratios),
        *(Cell(text=units.duration(value), sort_key=_key(value)) for value in tails),
        Cell(text=units.count(slo.get("num_turns")), sort_key=_key(slo.get("num_turns"))),
    )
