"""One entry of a run's comparisons with its baseline, by the metric's gate name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]


def entry(metrics: Json, engine: str, metric: str, user_class: str | None = None) -> Json | None:
    """Returns how an engine compares in one metric, by the name that gates know; None for the
    baseline itself, without one, and for a metric that is not compared."""
    entries = metrics["comparisons"].get(engine, [])
    return next(
        (each for each in entries if each["metric"] == metric and each["user_class"] == user_class),
        None,
    )
