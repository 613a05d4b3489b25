"""One run directory, one offline HTML file: everything it needs is inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from reports.drawing.palette import looks
from reports.pages import first_screen, side_by_side, tables
from reports.pages.cards import cards
from reports.pages.html_file import write_page
from reports.pages.references import cited_tables
from reports.pages.remarks import remark_facts, remark_pairs, remarks_of
from reports.pages.validity import warnings
from reports.sections.attainment import ATTAINMENT
from reports.sections.by_turn import BY_TURN
from reports.sections.changing_rate import CHANGING_RATE
from reports.sections.copies import COPIES
from reports.sections.distributions import DISTRIBUTIONS
from reports.sections.driver_lag import DRIVER_LAG
from reports.sections.engine_records import MissingColumnError, read_records
from reports.sections.heat_map import HEAT_MAP
from reports.sections.kv_over_time import KV_OVER_TIME
from reports.sections.latency_shares import LATENCY_SHARES
from reports.sections.ratios import gate_bounds
from reports.sections.section import RunFacts, RunSection, Section
from reports.sections.service import SERVICE
from reports.sections.slow_request import SLOW_REQUEST
from reports.sections.tails import TAILS
from reports.sections.timeline import TIMELINE
from reports.words import units
from suite.judging.metrics_file import read_metrics
from suite.records.reading import read_run
from suite.records.run_directory import Manifest

MAX_WARNINGS = 4  # on the first screen; the others unfold


# The answer first, then why, then whether to believe it.
SECTIONS: tuple[RunSection[Any], ...] = (
    ATTAINMENT,
    TAILS,
    CHANGING_RATE,
    HEAT_MAP,
    DISTRIBUTIONS,
    TIMELINE,
    SERVICE,
    LATENCY_SHARES,
    SLOW_REQUEST,
    KV_OVER_TIME,
    COPIES,
    BY_TURN,
    DRIVER_LAG,
)


def write_report(run: Path) -> Path:
    """Writes report.html from the run's records and its metrics.json, which is written first where
    there is none.

    Raises RunDirectoryError, PlanFileError or GateError.
    """
    manifest, plan = read_run(run)
    look = looks(manifest.engines)
    facts = RunFacts(manifest=manifest, plan=plan, metrics=read_metrics(run), look=look)
    shown, left_out = _read_sections(run, facts)
    metrics = facts.metrics
    remarks = remarks_of(manifest, manifest.engines)
    return write_page(
        run / "report.html",
        "report.html.j2",
        sections=[each for each in (gate_bounds(metrics["gates"]), *shown) if each.figures],
        title=manifest.name,
        manifest=manifest,
        look=look,
        verdict=first_screen.verdict(metrics),
        facts=first_screen.first_screen(metrics, manifest),
        remarks=remark_facts(remark_pairs(remarks), manifest.engines),
        warnings=warnings(metrics, besides={text for _, text in remark_pairs(remarks)}),
        num_warnings=MAX_WARNINGS,
        cards=cards(metrics, look),
        gates=tables.gate_table(metrics["gates"]) if metrics["gates"] else None,
        comparison=side_by_side.comparison_table(metrics),
        how_to_compare=side_by_side.how_to_read(metrics),
        cited=cited_tables(metrics.get("references", [])),  # a file of before has none
        classes=tables.class_table(metrics),
        worst_users=tables.worst_users_table(metrics),
        driver=tables.driver_table(manifest.trials),
        left_out=left_out,
        plan_notes=[f"{note.count:,} × {note.what}" for note in plan.notes],
        settings=_settings(manifest),
    )


def _read_sections(run: Path, facts: RunFacts) -> tuple[list[Section], list[tuple[str, str]]]:
    """Returns the sections, and (engine, text) of what of its logs cannot be drawn. The records of
    one engine at a time are in memory."""
    views: list[dict[str, Any]] = [{} for _ in SECTIONS]
    left_out: list[tuple[str, str]] = []
    for engine in facts.manifest.engines:
        records = read_records(run, facts.manifest, facts.plan, engine)
        for section, mine in zip(SECTIONS, views, strict=True):
            try:
                view = section.read(records)
            except MissingColumnError as missing:
                left_out.append((engine, str(missing)))
            else:
                if view is not None:
                    mine[engine] = view
    found = [section.show(facts, mine) for section, mine in zip(SECTIONS, views, strict=True)]
    return [each for sections in found for each in sections], left_out


def _settings(manifest: Manifest) -> list[tuple[str, str]]:
    """Returns (title, text) pairs on what was run on what: for reading, copying and repeating."""
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
