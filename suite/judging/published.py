"""Published figures beside the run's own: by how many times an engine is better than another.

Nothing is judged: a band that others published, on their machine and their work, says whether a
re-implementation behaves alike, not whether it is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from suite.judging.catalogue.table import Metric
from suite.judging.ratios import Ratio, ratio_of
from suite.judging.sides import Side
from suite.records.run_directory import Manifest
from suite.statistics.intervals import as_json
from suite.statistics.quantiles import Interval
from workloads.spec_references import ReferenceSpec

Json = dict[str, Any]


def reference_numbers(manifest: Manifest, sides: Mapping[str, Side]) -> list[Json]:
    """Returns one entry a cited metric, as docs/metrics.md has them."""
    cited = [ReferenceSpec.model_validate(each) for each in manifest.workload.get("references", [])]
    return [
        _beside_published(manifest, each, Metric(name), sides)
        for each in cited
        for name in each.metrics
    ]


def _beside_published(
    manifest: Manifest, cited: ReferenceSpec, metric: Metric, sides: Mapping[str, Side]
) -> Json:
    baseline = cited.baseline or manifest.baseline
    assert baseline is not None, cited  # checked with the workload
    facts = [manifest.facts_of(name) for name in (cited.engine, baseline)]
    if cited.engine in sides and baseline in sides:
        mine, other = sides[cited.engine], sides[baseline]
        factor, interval, reason = times_better(metric, ratio_of(mine, other, metric))
        value, baseline_value = mine.number(metric).value, other.number(metric).value
    else:  # only one engine of the run was asked for
        factor = interval = value = baseline_value = None
        reason = "one of the two engines was not measured"
    band = cited.times_better
    return {
        "source": cited.source,
        "note": cited.note,
        "ours": cited.ours,
        "is_simulated": all(each.is_modelled for each in facts),
        "metric": metric.name,
        "engine": cited.engine,
        "baseline": baseline,
        "published": [band.low, band.high],
        "value": value,
        "baseline_value": baseline_value,
        "times_better": factor,
        "interval": as_json(interval),
        "reason": reason,
    }


def times_better(metric: Metric, ratio: Ratio) -> tuple[float | None, Interval | None, str]:
    """Returns (factor, its interval, why there is none): the ratio for what is better when higher,
    its inverse for what is better when lower, so that above 1 is better in either case."""
    if ratio.value is None:
        return None, None, ratio.reason
    whole = ratio.whole_interval
    if metric.row.better == "higher":
        return ratio.value, whole, ""
    if ratio.value == 0:
        return None, None, "the engine's is 0, which is no multiple"
    if whole is None:
        return 1 / ratio.value, None, ""
    return (
        1 / ratio.value,
        Interval(
            low=None if whole.high is None else 1 / whole.high,
            high=1 / whole.low if whole.low else None,  # an end at 0 is no bound of the inverse
        ),
        "",
    )
