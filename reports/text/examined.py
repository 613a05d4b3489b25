"""What `fsbench doctor URL` says in a terminal: who answers, what it takes, what to write down."""

from __future__ import annotations

import json
from collections.abc import Iterator

from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.text.terminal import console_for_output
from suite.doctor.findings import Examined, Finding, Outcome
from suite.plurals import several

_SHOWN: dict[Outcome, tuple[str, str]] = {
    "yes": ("yes", "green"),
    "no": ("no", "red"),
    "ignored": ("ignored", "yellow"),
    "unknown": ("?", "yellow"),
}


def show_examined(examined: Examined, console: Console | None = None) -> None:
    """Prints who answers, a line for each finding, and the lines for a workload file."""
    console = console or console_for_output()
    unnamed = "a server that does not name itself on any page"
    software = examined.identity.text or unnamed
    console.print(Text.assemble((examined.base_url, "bold"), f" is {software}"), soft_wrap=True)
    asked = f"model {examined.model}"
    answered = "" if examined.answered is None else f"; answers name {examined.answered}"
    console.print(Text(f"{asked}{answered}"), soft_wrap=True)
    console.print(_table(examined.findings))
    if examined.why_broken_off is not None:
        console.print(Text.assemble(("! ", "yellow"), examined.why_broken_off), soft_wrap=True)
    if not examined.can_be_measured:
        return
    console.print(Text("write into a workload file:", style="bold"))
    for line in workload_lines(examined):
        console.print(Text(line), soft_wrap=True)
    console.print(Text(f"({several(examined.num_requests, 'request')} asked)", style="dim"))


def _table(findings: tuple[Finding, ...]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for each in findings:
        word, style = _SHOWN[each.outcome]
        mark = Text("! ", style="yellow") if each.is_problem else Text("  ")
        table.add_row(mark + Text(each.what), Text(word, style=style), Text(each.text))
    return table


def workload_lines(examined: Examined) -> Iterator[str]:
    """Yields YAML: the entry under `engines:` with its remarks, and other keys as remarks."""
    yield "engines:"
    yield f"  {json.dumps(examined.name) if not examined.name.isidentifier() else examined.name}:"
    for key, value in examined.entry.items():
        remark = examined.comments.get(key)
        text = value if isinstance(value, str) and value.isidentifier() else json.dumps(value)
        yield f"    {key}: {text}" + (f"  # {remark}" if remark else "")
    for key, text in examined.others.items():
        yield f"# {key}: {text}"
