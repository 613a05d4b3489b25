"""What a gate says: one line of text, parsed and checked before anything is started.

    [ENGINE:] METRIC[.STATISTIC][[CLASS]] OPERATOR BOUND

    ttft.p99 <= 1.5s                             every engine
    fastswitch: tbt.p999 <= 1.05 * baseline      one engine, against the baseline's own number
    ttft.p99[interactive] <= 800ms               one user class
    slo.users_within_slo_ratio >= 0.9

gates.py holds them against metrics.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from suite.judging.catalogue.table import METRICS, Metric, unknown_metric
from workloads.errors import InputError
from workloads.units import parse_duration

Operator = Literal["<=", "<", ">=", ">"]
_GATE = re.compile(
    r"(?:(?P<engine>[^:\s]+)\s*:\s*)?(?P<metric>[\w.]+)(?:\[(?P<user_class>[^\]]+)\])?"
    r"\s*(?P<operator><=|>=|<|>)\s*(?P<bound>.+)"
)
NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_TIMES_BASELINE = re.compile(rf"(?:(?P<factor>{NUMBER})\s*\*\s*)?baseline")


class GateError(InputError):
    """A gate that can not be understood. One line: which gate, what is wrong, what to write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    text: str
    engine: str | None  # None = every engine
    metric: Metric
    operator: Operator
    bound: float  # in seconds for durations; the factor where it is times_baseline
    is_times_baseline: bool

    def holds(self, value: float, bound: float) -> bool:
        match self.operator:
            case "<=":
                return value <= bound
            case "<":
                return value < bound
            case ">=":
                return value >= bound
            case ">":
                return value > bound


def parse_gate(text: str) -> Gate:
    """Parses one gate. Raises GateError."""
    match = _GATE.fullmatch(text.strip())
    if match is None:
        raise GateError(
            f"gate {text!r}: must read METRIC <= BOUND or METRIC >= BOUND, such as "
            "'ttft.p99 <= 1.5s', 'tbt.p999 <= 1.05 * baseline' or 'mine: ttft.p99[batch] <= 2s'"
        )
    name, user_class = match["metric"], match["user_class"]
    if name not in METRICS:
        raise GateError(f"gate {text!r}: {unknown_metric(name)}")
    metric = Metric(name, user_class)
    if user_class and "class" not in metric.row.scopes:
        raise GateError(
            f"gate {text!r}: {name} is not known per user class; "
            f"drop [{user_class}], or use a latency or an slo metric"
        )
    gate = Gate(
        text=text.strip(),
        engine=match["engine"],
        metric=metric,
        operator=cast(Operator, match["operator"]),
        bound=1.0,
        is_times_baseline=False,
    )
    return _with_bound(gate, match["bound"].strip())


def _with_bound(gate: Gate, bound: str) -> Gate:
    if against := _TIMES_BASELINE.fullmatch(bound):
        return replace(gate, bound=float(against["factor"] or 1), is_times_baseline=True)
    if gate.metric.row.kind == "time":
        try:
            return replace(gate, bound=parse_duration(bound))
        except ValueError as error:
            raise GateError(
                f"gate {gate.text!r}: the bound {error}; 1.05 * baseline would do too"
            ) from error
    if not re.fullmatch(NUMBER, bound):
        raise GateError(
            f"gate {gate.text!r}: {gate.metric.name} has no unit, got the bound {bound!r}; "
            "write a plain number such as 0.9, or 1.05 * baseline"
        )
    number = float(bound)
    if gate.metric.row.is_never_above_1 and (number > 1 or (gate.operator == ">" and number == 1)):
        raise GateError(
            f"gate {gate.text!r}: {gate.metric.name} is a share and never above 1, got the bound "
            f"{bound}; write a number from 0 to 1"
        )
    return replace(gate, bound=number)


def parse_gates(
    texts: Iterable[str],
    *,
    engines: Sequence[str],
    user_classes: Sequence[str],
    baseline: str | None,
    where: str,
    has_stored_baseline: bool = False,
) -> tuple[Gate, ...]:
    """Parses gates and checks that the workload knows their engines and classes; `where` they stand
    goes into the message. Raises GateError."""
    try:
        gates = tuple(parse_gate(text) for text in texts)
        for gate in gates:
            _check_scope(gate, "engine", gate.engine, engines)
            _check_scope(gate, "user class", gate.metric.user_class, user_classes)
            if gate.is_times_baseline and not has_stored_baseline:
                _check_baseline(gate, baseline)
    except GateError as error:
        raise GateError(f"{where}: {error}") from None
    return gates


def _check_baseline(gate: Gate, baseline: str | None) -> None:
    if baseline is None:
        raise GateError(
            f"gate {gate.text!r}: the workload names no baseline; add `baseline: ENGINE`, "
            "or give one: fsbench gate RUN --baseline RUN|FILE"
        )
    if gate.engine == baseline:
        raise GateError(f"gate {gate.text!r}: holds the baseline {baseline!r} against itself")


def _check_scope(gate: Gate, what: str, name: str | None, known: Sequence[str]) -> None:
    if name is not None and name not in known:
        raise GateError(
            f"gate {gate.text!r}: {what} {name!r} is unknown; choose one of: {', '.join(known)}"
        )
