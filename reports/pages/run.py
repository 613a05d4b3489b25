"""One run directory, one offline HTML file: everything it needs is inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reports.blocks.block import Block, RunData, read_data
from reports.blocks.order import all_blocks
from reports.blocks.ratios import gate_bounds
from reports.drawing.palette import looks
from reports.pages import page, side_by_side, tables
from reports.pages.cards import cards
from reports.pages.offline_page import write_page
from reports.pages.references import cited_tables
from reports.views.sweep import read_metrics
from reports.words import units
from suite.records.reading import read_run
from suite.records.run_directory import Manifest

MAX_WARNINGS = 4  # on the first screen; the others unfold


def write_report(run: Path) -> Path:
    """report.html from the run's metrics.json, which is written first where there is none.

    Raises RunDirectoryError, PlanFileError or GateError.
    """
    manifest, plan = read_run(run)
    data = read_data(run, manifest, plan, read_metrics(run), looks(manifest.engines))
    return render(data, run / "report.html")


def render(data: RunData, path: Path) -> Path:
    manifest, metrics = data.manifest, data.metrics
    return write_page(
        path,
        "report.html.j2",
        blocks=_blocks(data),
        title=manifest.name,
        manifest=manifest,
        look=data.look,
        verdict=page.verdict(metrics),
        facts=page.first_screen(metrics, manifest),
        labels=page.labels(manifest),
        warnings=page.warnings(metrics),
        num_warnings=MAX_WARNINGS,
        cards=cards(metrics, data.look),
        gates=tables.gate_table(metrics["gates"]) if metrics["gates"] else None,
        comparison=side_by_side.comparison_table(metrics),
        how_to_compare=side_by_side.how_to_read(metrics),
        cited=cited_tables(metrics.get("references", [])),  # a file of before has none
        classes=tables.class_table(metrics),
        worst_users=tables.worst_users_table(metrics),
        driver=tables.driver_table(manifest.trials),
        left_out=[
            (name, text)
            for name, each in data.engines.items()
            for text in each.switching.unavailable
        ],
        plan_notes=[f"{note.count:,} × {note.what}" for note in data.plan.notes],
        settings=_settings(manifest),
    )


def _blocks(data: RunData) -> list[Block]:
    """The gates' figure first, below their table."""
    bounds = gate_bounds(data.metrics["gates"])
    return [*([bounds] if bounds.figures else []), *all_blocks(data)]


def _settings(manifest: Manifest) -> list[tuple[str, str]]:
    """(title, text) of what was run on what: for reading, copying and repeating."""
    machine = {
        name: units.size(value) if name.endswith("_bytes") and value is not None else value
        for name, value in manifest.machine.items()
    }
    versions = {
        trial.engine: trial.engine_version for trial in manifest.trials if trial.engine_version
    }
    sections: list[tuple[str, Any]] = [
        ("Machine", machine),
        ("Versions", manifest.versions),
        ("Engines as run", manifest.engines),
        *([("Versions of other engines", versions)] if versions else []),
        ("Workload as resolved", manifest.workload),
    ]
    return [
        (title, yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=90))
        for title, value in sections
    ]
