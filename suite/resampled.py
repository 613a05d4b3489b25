"""One engine's numbers under resampled conversations or users; the draws are the plan's, so that
two engines on the same plan are drawn alike."""

from __future__ import annotations

import numpy as np

from suite.bootstrap import draws, levels_around, mean_draws, percentile_draws
from suite.engine_run import EngineRun
from suite.intervals import Clusters
from suite.latencies import samples_and_rows
from suite.metric_names import Metric
from suite.quantiles import PERCENTILES
from suite.turn_table import Floats
from suite.user_draws import UserDraws


class Resampled:
    """Draws of each metric are made when asked for, and kept."""

    def __init__(self, records: EngineRun) -> None:
        self._records = records
        self._found: dict[str, Floats | None] = {}
        conversations = records.measured.plan.conversations
        column = {each.conversation_id: index for index, each in enumerate(conversations)}
        self._num_conversations = len(conversations)
        turns = records.turns
        self._column_of_turn = np.array(
            [column[name] for name in turns.conversation_id], dtype=np.int32
        )

    @property
    def user_classes(self) -> tuple[str, ...]:
        return tuple(each.name for each in self._records.plan.user_classes)

    def draws_of(self, metric: Metric) -> Floats | None:
        """[NUM_RESAMPLES]; None where resampling says nothing of the metric."""
        if metric.label not in self._found:
            self._found[metric.label] = self._make(metric)
        return self._found[metric.label]

    def has_both_sides(self, metric: Metric, num: int) -> bool:
        """Whether at least so many users are within SLO, and as many not."""
        users = self._records.users
        chosen = np.ones(len(users.repeat), dtype=bool)
        if metric.user_class is not None:
            chosen = users.user_class == metric.user_class
        within = users.is_within_slo[chosen]
        num_within = len(np.unique(users.user_id[chosen][within]))
        num_without = len(np.unique(users.user_id[chosen][~within]))
        return min(num_within, num_without) >= num

    def _make(self, metric: Metric) -> Floats | None:
        if metric.is_latency:
            return None if metric.key == "max" else self._latency(metric)
        if metric.group in ("slo", "fairness"):
            return self._users(metric)
        return None

    def _latency(self, metric: Metric) -> Floats | None:
        turns = self._records.turns
        rows = np.ones(len(turns), dtype=bool)
        if metric.user_class is not None:
            rows = turns.user_class == metric.user_class
        values, row = samples_and_rows(turns, rows, f"{metric.group}_s")
        if not len(values):
            return None
        labels = self._column_of_turn[row]
        clusters, columns = Clusters.of(labels), np.flatnonzero(np.bincount(labels))
        counts = draws(self._num_conversations)
        if metric.key == "mean":
            return mean_draws(clusters.sums(values), clusters.sizes, columns, counts)
        levels = levels_around(values, clusters, float(PERCENTILES[metric.key]))
        return percentile_draws(values, clusters, columns, counts, levels)

    def _users(self, metric: Metric) -> Floats | None:
        users = self._records.users
        if not len(users.repeat):
            return None
        names, labels = np.unique(users.user_id, return_inverse=True)
        if metric.user_class is not None:
            chosen = users.user_class == metric.user_class
            users, labels = users.where(chosen), labels[chosen]
        return UserDraws(users, labels, draws(len(names))).of(metric.key)
