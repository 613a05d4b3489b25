"""How far an engine's repeats lie apart, metric by metric: what no resampling in a run can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from suite.judging.catalogue.table import metrics_of
from suite.judging.look_up import look_up
from suite.statistics.intervals import as_json
from suite.statistics.student import mean_of_repeats_interval


def between_runs(repeats: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Returns for each metric (with `[CLASS]`) the value of each repeat and the interval of their
    mean; None unless two repeats recorded anything. Repeats without a value are left out."""
    recorded = [each for each in repeats if each["counts"]["recorded"]]
    if len(recorded) < 2:
        return None
    found = {}
    for metric in metrics_of(recorded[0]["by_class"]):
        values = [look_up(each, metric).value for each in recorded]
        known = [each for each in values if each is not None]
        if known:
            interval = mean_of_repeats_interval(
                np.array(known), is_share=metric.row.is_never_above_1
            )
            found[metric.label] = {"values": known, "interval": as_json(interval)}
    return found
