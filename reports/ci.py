"""Verdicts for a CI service: JUnit XML, and annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from reports.wording import gate_name, gate_text, worst_first

Json = Mapping[str, Any]


def write_junit(path: Path, gates: Sequence[Json], *, suite: str) -> None:
    """One test case a gate and engine: a failed one is a failure, an inconclusive one is skipped,
    for it says nothing against the change (the exit code tells it apart)."""
    outcomes = [gate["outcome"] for gate in gates]
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(gates)),
        failures=str(outcomes.count("fail")),
        skipped=str(outcomes.count("inconclusive")),
        errors="0",
    )
    for gate in gates:
        case = ElementTree.SubElement(
            root, "testcase", classname=f"{suite}.{gate['engine']}", name=gate["gate"], time="0"
        )
        if gate["outcome"] == "fail":
            ElementTree.SubElement(case, "failure", message=gate_text(gate), type="gate")
        elif gate["outcome"] == "inconclusive":
            ElementTree.SubElement(case, "skipped", message=gate_text(gate))
        else:
            ElementTree.SubElement(case, "system-out").text = gate_text(gate)
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def github_annotations(gates: Sequence[Json]) -> list[str]:
    """Workflow commands, failures first; what passed needs none."""
    commands = {"fail": "error", "inconclusive": "warning"}
    return [
        f"::{commands[gate['outcome']]} title={_property(gate_name(gate))}::"
        f"{_message(gate_text(gate))}"
        for gate in worst_first(gates)
        if gate["outcome"] in commands
    ]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
