"""One run directory, one offline HTML file: everything it needs is inside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from reports import blocks, page, units
from reports.glossary import GLOSSARY
from reports.palette import looks
from suite.metrics import read_run, write_metrics
from suite.run_directory import SCHEMA_VERSION, Manifest

_HERE = Path(__file__).parent


def write_report(run: Path) -> Path:
    """report.html from the run's metrics.json, which is written first where there is none.

    Raises MetricsError, PlanFileError or GateError.
    """
    manifest, plan = read_run(run)
    metrics = _metrics(run)
    look = looks(manifest.engines)
    data = blocks.read_data(run, manifest, plan, metrics, look)
    html = render(manifest, metrics, data)
    partial = run / "report.html.partial"
    partial.write_text(html, encoding="utf-8")
    return partial.replace(run / "report.html")


def _metrics(run: Path) -> dict[str, Any]:
    path = run / "metrics.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        if found.get("schema_version") == SCHEMA_VERSION:
            return found
    return write_metrics(run)


def render(manifest: Manifest, metrics: dict[str, Any], data: blocks.RunData) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    shown = blocks.all_blocks(data)
    return environment.get_template("report.html.j2").render(
        manifest=manifest,
        look=data.look,
        verdict=page.verdict(metrics),
        warnings=page.warnings(metrics),
        is_driver_valid=all(part.driver is None or part.driver.is_valid for part in manifest.parts),
        cards=page.cards(metrics, data.look),
        gates=page.gate_table(metrics["gates"]) if metrics["gates"] else None,
        comparison=page.comparison_table(metrics),
        classes=page.class_table(metrics),
        blocks=shown,
        figures=[(each.figure_id, _script_json(each)) for block in shown for each in block.figures],
        glossary=GLOSSARY,
        plan_notes=[f"{note.count:,} × {note.what}" for note in data.plan.notes],
        settings=_settings(manifest),
        css=_asset("report.css"),
        javascript=_asset("report.js"),
        plotly=Markup(get_plotlyjs()),
    )


def _asset(name: str) -> Markup:
    return Markup((_HERE / name).read_text(encoding="utf-8"))


def _script_json(each: blocks.Figure) -> Markup:
    """Safe inside <script>: no text of a run can close the element."""
    text = str(each.figure.to_json()).replace("<", "\\u003c")
    return Markup(text)


def _settings(manifest: Manifest) -> list[tuple[str, str]]:
    """(title, text) of what was run on what: for reading, copying and repeating."""
    machine = {
        name: units.size(value) if name.endswith("_bytes") and value is not None else value
        for name, value in manifest.machine.items()
    }
    versions = {part.engine: part.engine_version for part in manifest.parts if part.engine_version}
    sections: list[tuple[str, Any]] = [
        ("Machine", machine),
        ("Versions", manifest.versions),
        ("Engines as run", manifest.engines),
        *([("Versions of other engines", versions)] if versions else []),
        ("Workload as resolved", manifest.workload),
    ]
    return [(title, json.dumps(value, indent=2, ensure_ascii=False)) for title, value in sections]
