"""How far the repeats of a run lie apart: what no resampling within a run can show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from suite.intervals import as_json, between_runs_interval
from suite.metric_names import METRICS, Metric, look_up


def between_runs(repeats: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Per metric (with `[CLASS]`) the value of each repeat and the interval of their mean; None
    unless two repeats recorded anything. Repeats without a value are left out."""
    recorded = [each for each in repeats if each["counts"]["recorded"]]
    if len(recorded) < 2:
        return None
    found = {}
    for metric in _metrics(recorded[0]["by_class"]):
        values = [look_up(each, metric).value for each in recorded]
        known = [each for each in values if each is not None]
        if known:
            interval = between_runs_interval(np.array(known))
            found[metric.label] = {"values": known, "interval": as_json(interval)}
    return found


def _metrics(user_classes: Sequence[str]) -> list[Metric]:
    whole = [Metric(name) for name in METRICS]
    return whole + [
        Metric(metric.name, user_class)
        for user_class in user_classes
        for metric in whole
        if metric.can_have_class
    ]
