"""How late the driver itself was: whether its stamps can be trusted."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from reports.drawing.thinning import Ecdf, ecdf
from reports.sections.distributions import latency_ecdf, thinned_note
from reports.sections.engine_records import EngineRecords
from reports.sections.section import Figure, RunFacts, RunSection, Section
from suite.measuring.latencies import samples_and_rows

SMALLEST_LAG_S = 1e-6  # what a log axis can show


def _read(records: EngineRecords) -> Ecdf:
    turns = records.turns
    lags, row = samples_and_rows(turns, np.ones(len(turns), dtype=bool), "driver_lag_s")
    return ecdf(np.maximum(lags, SMALLEST_LAG_S), turns.conversation[row])


def _show(facts: RunFacts, views: Mapping[str, Ecdf]) -> list[Section]:
    """Leaves out engines in virtual time: no driver took part."""
    found = {name: each for name, each in views.items() if not facts.numbers[name]["is_exact"]}
    shown: tuple[Figure, ...] = ()
    if any(each.num_samples for each in found.values()):
        note = " ".join(
            ["Lags below 1 µs are drawn at 1 µs.", thinned_note(found.values())]
        ).strip()
        figure = latency_ecdf(found, facts.look, "sent after the planned instant", None)
        shown = (Figure(figure_id="driver-lag", title="Driver lag", note=note, figure=figure),)
    section = Section(
        title="Can the driver be trusted",
        term="driver_lag",
        how_to_read="How late the driver itself was: it should end far left of every SLO.",
        figures=shown,
    )
    return [section]


DRIVER_LAG = RunSection(read=_read, show=_show)
