"""Verdicts for a CI service: JUnit XML, and annotations of GitHub Actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from reports.words.wording import gate_name, gate_text, worst_first

Json = Mapping[str, Any]


def write_junit(
    path: Path, gates: Sequence[Json], *, suite: str, incomplete: str | None = None
) -> None:
    """Writes one test case a gate and engine: a failed one is a failure, an inconclusive one is
    skipped, for it says nothing against the change (the exit code tells it apart). A run that is
    `incomplete` is an error, whatever its gates say."""
    outcomes = [gate["outcome"] for gate in gates]
    root = ElementTree.Element(
        "testsuite",
        name=suite,
        tests=str(len(gates) + bool(incomplete)),
        failures=str(outcomes.count("fail")),
        skipped=str(outcomes.count("inconclusive")),
        errors="1" if incomplete else "0",
        time="0",
    )
    if incomplete:
        _case(root, suite, "the run is complete", "error", incomplete)
    for gate in gates:
        _case(root, f"{suite}.{gate['engine']}", gate["gate"], gate["outcome"], gate_text(gate))
    path.parent.mkdir(parents=True, exist_ok=True)
    ElementTree.indent(root)
    ElementTree.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(root: ElementTree.Element, owner: str, name: str, outcome: str, text: str) -> None:
    """Adds a case with its text where each reader looks: some show the message, some the
    content."""
    case = ElementTree.SubElement(root, "testcase", classname=owner, name=name, time="0")
    tags = {"fail": "failure", "error": "error", "inconclusive": "skipped"}
    if outcome not in tags:
        ElementTree.SubElement(case, "system-out").text = text
        return
    found = ElementTree.SubElement(case, tags[outcome], message=text)
    if outcome != "inconclusive":
        found.set("type", "gate")
        found.text = text


def github_annotations(gates: Sequence[Json], *, incomplete: str | None = None) -> list[str]:
    """Returns workflow commands, failures first; what passed needs none."""
    commands = {"fail": "error", "inconclusive": "warning"}
    said = [f"::error title=fsbench::{_message(incomplete)}"] if incomplete else []
    return said + [
        f"::{commands[gate['outcome']]} title={_property(gate_name(gate))}::"
        f"{_message(gate_text(gate))}"
        for gate in worst_first(gates)
        if gate["outcome"] in commands
    ]


def _message(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _message(text).replace(":", "%3A").replace(",", "%2C")
