"""A distribution in the words of metrics.json: percentiles, how far to trust them, or why not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from suite.statistics.arrays import Floats, Labels
from suite.statistics.bootstrap_t import mean_interval
from suite.statistics.intervals import Clusters, all_as_json, clustered_percentile
from suite.statistics.quantiles import PERCENTILES, Interval, quantile, samples_needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Percentiles, mean and maximum of samples with their intervals; a percentile that is None
    stands in `unavailable` with the reason."""

    count: int
    mean: float | None
    maximum: float | None
    percentiles: dict[str, float | None]
    intervals: dict[str, Interval | None]  # of the percentiles and the mean
    num_effective: dict[str, float | None]
    unavailable: dict[str, str]

    def as_json(self) -> dict[str, object]:
        return {
            "count": self.count,
            "mean": self.mean,
            **self.percentiles,
            "max": self.maximum,
            "interval": all_as_json(self.intervals),
            "num_effective": self.num_effective,
            "unavailable": self.unavailable,
        }


def summarise(samples: Floats, labels: Labels | None = None) -> Summary:
    """Returns the summary of samples. `labels`: the cluster (conversation) of each sample; None =
    all are independent. NaN is a bug of the caller."""
    assert not np.isnan(samples).any(), "NaN among the samples"
    count = len(samples)
    ascending = np.sort(samples)
    clusters = Clusters.from_labels(np.arange(count) if labels is None else labels)
    unavailable = {
        name: f"needs at least {samples_needed(q):,} samples, has {count:,}"
        for name, q in PERCENTILES.items()
        if count < samples_needed(q)
    }
    percentiles: dict[str, float | None] = dict.fromkeys(PERCENTILES)
    num_effective: dict[str, float | None] = dict.fromkeys(PERCENTILES)
    intervals: dict[str, Interval | None] = dict.fromkeys(["mean", *PERCENTILES])
    if count:
        intervals["mean"] = mean_interval(clusters.sums(samples), clusters.sizes)
    for name, q in PERCENTILES.items():
        if name in unavailable:
            continue
        percentiles[name] = quantile(ascending, q)
        num_effective[name], intervals[name] = clustered_percentile(samples, ascending, q, clusters)
    intervals.update(_closed_by_neighbours({name: intervals[name] for name in PERCENTILES}))
    return Summary(
        count=count,
        mean=float(samples.mean()) if count else None,
        maximum=float(ascending[-1]) if count else None,
        percentiles=percentiles,
        intervals=intervals,
        num_effective=num_effective,
        unavailable=unavailable,
    )


def _closed_by_neighbours(intervals: dict[str, Interval | None]) -> dict[str, Interval | None]:
    """Closes open ends by the nearest percentile on their side: what holds P95 from below does so
    for P99, and so does what holds P99.9 from above. Percentiles in ascending order."""
    lows = [None if each is None else each.low for each in intervals.values()]
    highs = [None if each is None else each.high for each in intervals.values()]
    for index in range(1, len(lows)):
        if lows[index] is None:
            lows[index] = lows[index - 1]
        if highs[-1 - index] is None:
            highs[-1 - index] = highs[-index]
    return {
        name: None if each is None else Interval(low=low, high=high)
        for (name, each), low, high in zip(intervals.items(), lows, highs, strict=True)
    }
