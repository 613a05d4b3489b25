"""Engines side by side, a line a number; what is called better is what the intervals allow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from reports.pages.entries import entry
from reports.pages.tables import Cell, Table, sort_key
from reports.words import units
from reports.words.wording import times_interval_text
from suite.judging.between_runs import MIN_REPEATS
from suite.judging.ratios import UNSEEN_LEVEL

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """One line of the comparison: where the number lies and how it reads."""

    title: str
    path: tuple[str, ...]
    show: Callable[[float | None], str]

    @property
    def metric(self) -> str:
        """The name by which gates and comparisons know it."""
        return ".".join((self.path[0].removesuffix("_s"), *self.path[1:]))


_LINES = (
    _Line(title="Users within SLO", path=("slo", "users_within_slo_ratio"), show=units.percent),
    _Line(title="Turns within SLO", path=("slo", "turn_attainment_ratio"), show=units.percent),
    *(
        _Line(title=f"{name} {label}", path=(key, percentile), show=units.duration)
        for name, key in (("TTFT", "ttft_s"), ("TBT", "tbt_s"))
        for label, percentile in (("P50", "p50"), ("P99", "p99"), ("P99.9", "p999"))
    ),
    _Line(title="TPOT P50", path=("tpot_s", "p50"), show=units.duration),
    _Line(title="End-to-end P99", path=("e2e_s", "p99"), show=units.duration),
    _Line(title="Longest gap", path=("fairness", "longest_gap_s"), show=units.duration),
    _Line(title="Output tokens/s", path=("throughput", "output_tokens_per_s"), show=units.count),
    _Line(title="Tokens a chunk", path=("tokens_per_chunk_mean",), show=units.count),
    _Line(title="Jain's index (attainment)", path=("fairness", "jain_index"), show=units.count),
    _Line(title="Gini (attainment)", path=("fairness", "gini_index"), show=units.count),
    _Line(
        title="Slowdown against playing alone, P99",
        path=("fairness", "slowdown_p99"),
        show=units.times,
    ),
    _Line(
        title="Turns without a whole answer",
        path=("fairness", "num_abandoned_turns"),
        show=units.count,
    ),
    _Line(
        title="Goodput, turns within SLO/s",
        path=("throughput", "goodput_turns_per_s"),
        show=units.count,
    ),
    _Line(title="Fluidity index", path=("slo", "fluidity_index"), show=units.percent),
    _Line(
        title="Worst user's attainment",
        path=("fairness", "worst_user_attainment_ratio"),
        show=units.percent,
    ),
    _Line(title="Preemptions", path=("context_switch", "num_preemptions"), show=units.count),
    _Line(
        title="Stalled for transfers", path=("context_switch", "stall_ratio"), show=units.percent
    ),
    *(
        _Line(
            title=f"Latency spent {name}",
            path=("context_switch", "latency_shares", key),
            show=units.percent,
        )
        for name, key in (
            ("preempted", "preempted_ratio"),
            ("waiting for swap-ins", "swap_wait_ratio"),
        )
    ),
    _Line(
        title="Blocks per copy", path=("context_switch", "mean_blocks_per_copy"), show=units.count
    ),
    *(
        _Line(title=f"{name} bandwidth", path=("context_switch", key), show=units.rate)
        for name, key in (("Swap-out", "swap_out_bytes_per_s"), ("Swap-in", "swap_in_bytes_per_s"))
    ),
    _Line(
        title="Transfers waited for in conflict",
        path=("context_switch", "num_conflicts"),
        show=units.count,
    ),
    _Line(
        title="Prompt tokens reused",
        path=("context_switch", "reused_tokens_ratio"),
        show=units.percent,
    ),
)


def line_titles() -> dict[str, str]:
    """How the table calls a number, by the name that gates know."""
    return {line.metric: line.title for line in _LINES}


def comparison_table(metrics: Json) -> Table:
    """Engines as columns; beside each value its multiple of the baseline's, and what the interval
    of that allows to say. Nothing is called better without such an interval."""
    engines, baseline = metrics["engines"], metrics["baseline"]
    return Table(
        columns=("", *(f"{name} (baseline)" if name == baseline else name for name in engines)),
        rows=tuple(
            row for line in _LINES if (row := _comparison_row(line, metrics, engines)) is not None
        ),
    )


def how_to_read(metrics: Json) -> str:
    if metrics["baseline"] is None:
        return (
            "The workload names no baseline, so nothing is compared; overlapping intervals mean "
            "that the run does not tell two engines apart."
        )
    return (
        f"Beside each value its 95 % interval, and its multiple of {metrics['baseline']}'s. It is "
        "called better or worse only where the interval of that multiple excludes 1, and with "
        f"fewer than {MIN_REPEATS} repeats is beyond {UNSEEN_LEVEL:g} times as well (in virtual "
        "time, where one plan always gives the same numbers: where the multiple is not 1)."
    )


def _comparison_row(line: _Line, metrics: Json, engines: Json) -> tuple[Cell, ...] | None:
    """None for a line that no engine has a number for."""
    values = {name: _at(each, line.path) for name, each in engines.items()}
    if all(value is None for value in values.values()):
        return None
    cells = [_value_cell(line, metrics, name, value) for name, value in values.items()]
    return (Cell(text=line.title), *cells)


def _value_cell(line: _Line, metrics: Json, name: str, value: float | None) -> Cell:
    found = entry(metrics, name, line.metric)
    interval = _interval_at(metrics["engines"][name], line.path)
    details = [units.interval(interval, line.show)] if interval else []
    mark = ""
    if found is not None and found["ratio"] is not None:
        ratio = units.times(found["ratio"])
        if found["interval"]:
            ratio += f" ({times_interval_text(found['interval'])})"
        details.append(f"{found['verdict']}: {ratio}")  # "0.5× better" would be half as good
        mark = found["verdict"] if found["verdict"] in ("better", "worse") else ""
    return Cell(
        text=line.show(value), detail=" · ".join(details), sort_key=sort_key(value), mark=mark
    )


def _interval_at(engine: Json, path: tuple[str, ...]) -> units.Ends | None:
    """Of a percentile or a ratio, where its group has one."""
    group = _at(engine, path[:-1])
    found = (group or {}).get("interval") or {} if isinstance(group, Mapping | None) else {}
    return cast("units.Ends | None", found.get(path[-1]))


def _at(engine: Json, path: tuple[str, ...]) -> Any:
    """None where any group on the way was not measured."""
    found: Any = engine
    for key in path:
        found = (found or {}).get(key)
    return found
