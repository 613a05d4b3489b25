"""The catalogue against what is measured, documented, and accepted as a gate.

`python -m tests.suite.judging.test_catalogue` writes the list of metrics into docs/metrics.md.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.words.glossary import GLOSSARY
from reports.words.numbers import value_at
from suite.judging.catalogue.latencies import FAMILIES, STATISTICS
from suite.judging.catalogue.row import Row
from suite.judging.catalogue.table import METRICS, ROWS, Metric, metrics_of, shown_in
from suite.judging.gate_schema import gate_schema
from suite.judging.gate_syntax import GateError, parse_gate
from suite.judging.look_up import look_up
from suite.judging.metrics_file import measure
from suite.sweep.summary import COLUMNS
from tests.reports.synthetic_run import FAST, SLOW, write_run

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
BEGIN, END = "<!-- metrics -->\n", "<!-- end of metrics -->\n"


def listed() -> str:
    """The table of docs/metrics.md: a line for each distribution and each single number."""
    lines = ["| metric | what | kind | better | by class | interval | pairs by |", "|" + "---|" * 7]
    for family in FAMILIES:
        row = ROWS[f"{family.name}.p99"]
        lines.append(_line(f"{family.name}.STATISTIC", row))
    lines += [_line(name, ROWS[name]) for name in METRICS if not ROWS[name].is_latency]
    return "\n".join(lines) + "\n"


def _line(name: str, row: Row) -> str:
    kind = f"{row.kind}, {row.unit}" if row.unit else row.kind
    cells = (
        f"`{name}`",
        row.definition,
        kind,
        row.better,
        "yes" if "class" in row.scopes else "",
        row.interval or "",
        row.pairs_by or "",
    )
    return f"| {' | '.join(cells)} |"


def with_list(document: str) -> str:
    before, rest = document.split(BEGIN)
    return before + BEGIN + "\n" + listed() + "\n" + END + rest.split(END)[1]


def test_the_document_lists_every_metric() -> None:
    document = DOCUMENT.read_text()
    assert document == with_list(document), "python -m tests.suite.judging.test_catalogue writes it"


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    run = write_run(
        tmp_path_factory.mktemp("run"), {"fast": FAST, "slow": replace(SLOW, fail_ratio=0.1)}
    )
    found: dict[str, Any] = measure(run)["engines"]
    return found


@pytest.mark.parametrize("name", ROWS)
def test_every_row_leads_to_a_number_or_to_the_reason_why_there_is_none(
    engines: dict[str, Any], name: str
) -> None:
    for numbers in engines.values():
        classes = (None, *numbers["by_class"]) if "class" in ROWS[name].scopes else (None,)
        for user_class in classes:
            found = look_up(numbers, Metric(name, user_class)) if ROWS[name].is_gated else None
            if found is None:
                assert value_at(numbers, ROWS[name].path) is not None
            elif found.value is None:
                assert found.reason not in ("", "nothing was measured")
            else:
                assert (found.interval is not None) == (ROWS[name].interval is not None)
                assert not ROWS[name].is_never_above_1 or 0 <= found.value <= 1


def test_every_number_of_metrics_json_that_is_better_one_way_has_a_row(
    engines: dict[str, Any],
) -> None:
    """What has no row is the whole of a ratio, a size of the run, or says whose number it is."""
    known = {row.path for row in ROWS.values()}
    unknown = {
        f"{group}.{key}"
        for group in ("slo", "fairness", "throughput", "steady_state", "context_switch", "counts")
        for key, value in engines["slow"][group].items()
        if isinstance(value, float) and (group, key) not in known
    }
    assert unknown == {
        "fairness.service_window_s",
        "steady_state.slice_s",
        "throughput.window_s",
    }


def test_repeats_are_held_for_every_metric_that_has_a_value(engines: dict[str, Any]) -> None:
    numbers = engines["fast"]
    has_value = [
        metric.label
        for metric in metrics_of(numbers["by_class"])
        if any(look_up(each, metric).value is not None for each in numbers["repeats"])
    ]
    assert list(numbers["between_runs"]) == has_value


def test_the_places_hold_what_their_readers_need() -> None:
    assert shown_in("cards")[0].name == "slo.users_within_slo_ratio"
    assert {row.term for row in ROWS.values() if row.term} <= GLOSSARY.keys()
    assert {row.term or row.group for row in shown_in("cards")} <= GLOSSARY.keys()
    assert len({row.label for row in ROWS.values()}) == len(ROWS)
    assert all(row.definition.endswith(".") for row in ROWS.values())
    assert len(COLUMNS) == len(shown_in("sweep")) + 3
    assert all(row.is_gated for row in shown_in("compared"))
    assert all("class" in row.scopes for row in shown_in("compared by class"))
    assert all("class" in row.scopes for row in shown_in("class table"))


BOUNDS = st.sampled_from(
    [
        "1.5s",
        "250 ms",
        "0",
        "1",
        "0.5",
        "1.5",
        "baseline",
        "1.05 * baseline",
        "2*baseline",
        "90%",
        "",
    ]
)
NAMES = st.sampled_from([*METRICS, "ttft.p98", "ttft_s.p99", "slo.users", "tokens_per_chunk_mean"])
GATES = st.builds(
    lambda engine, name, user_class, operator, bound: (
        f"{engine}{name}{user_class} {operator} {bound}"
    ),
    st.sampled_from(["", "mine: ", "vllm-0.3:"]),
    NAMES,
    st.sampled_from(["", "[interactive]"]),
    st.sampled_from(["<=", "<", ">=", ">", "="]),
    BOUNDS,
)


@given(gate=GATES)
def test_the_schema_takes_the_gates_that_are_understood(gate: str) -> None:
    is_match = re.search(gate_schema()["pattern"], gate) is not None
    try:
        parse_gate(gate)
    except GateError as error:
        assert not is_match or "is a share and never above 1" in str(error)
    else:
        assert is_match


def test_a_latency_is_known_by_every_statistic() -> None:
    assert {name for name in METRICS if name.startswith("tbt.")} == {
        f"tbt.{each}" for each in STATISTICS
    }


if __name__ == "__main__":
    DOCUMENT.write_text(with_list(DOCUMENT.read_text()))
