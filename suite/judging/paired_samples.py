"""One engine's numbers by conversation and by user, in the plan's order, so that two engines on the
same plan are paired: resampled percentiles, totals of means, influences of users."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from suite.judging.catalogue import Metric
from suite.measuring.engine_run import EngineRun
from suite.measuring.latencies import samples_and_rows
from suite.measuring.user_influences import user_influences
from suite.statistics.arrays import Floats, Ints, Labels, Strings
from suite.statistics.bootstrap import draws, levels_around, percentile_draws
from suite.statistics.intervals import Clusters, sums_by_label
from suite.statistics.quantiles import PERCENTILES


class Resampled:
    """Draws of each percentile are made when asked for, and kept."""

    def __init__(self, records: EngineRun) -> None:
        self._records = records
        self._drawn: dict[str, Floats | None] = {}
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
        """[NUM_RESAMPLES] of a percentile of a latency; None without samples."""
        if metric.label not in self._drawn:
            self._drawn[metric.label] = self._draw(metric)
        return self._drawn[metric.label]

    def totals_of(self, metric: Metric) -> Floats:
        """[num_conversations, 2]: how many samples of a latency each has, and their sum."""
        values, labels = self._samples(metric)
        num = self._num_conversations
        totals = sums_by_label(labels, None, num), sums_by_label(labels, values, num)
        return np.stack(totals, axis=1)

    def influences_of(self, metric: Metric) -> Floats | None:
        """[num_users] on a number of users; None if it is not one."""
        users, headroom = self._records.users, self._headroom_of_users
        names, labels = self._names_and_labels
        if metric.user_class is not None:
            chosen = users.user_class == metric.user_class
            users, labels, headroom = users.where(chosen), labels[chosen], headroom[chosen]
        return user_influences(metric.key, users, headroom, labels, len(names))

    @cached_property
    def _names_and_labels(self) -> tuple[Strings, Ints]:
        """(users, the user of each row of the users' attainment)."""
        return np.unique(self._records.users.user_id, return_inverse=True)

    @cached_property
    def _headroom_of_users(self) -> Floats:
        records = self._records
        return records.users.mean_of_turns(records.turns, records.headroom)

    def _draw(self, metric: Metric) -> Floats | None:
        values, labels = self._samples(metric)
        if not len(values):
            return None
        clusters, columns = Clusters.of(labels), np.flatnonzero(np.bincount(labels))
        levels = levels_around(values, clusters, float(PERCENTILES[metric.key]))
        counts = draws(self._num_conversations)
        return percentile_draws(values, clusters, columns, counts, levels)

    def _samples(self, metric: Metric) -> tuple[Floats, Labels]:
        """(the samples of a latency, the conversation of each)."""
        turns = self._records.turns
        rows = np.ones(len(turns), dtype=bool)
        if metric.user_class is not None:
            rows = turns.user_class == metric.user_class
        values, row = samples_and_rows(turns, rows, f"{metric.group}_s")
        return values, self._column_of_turn[row]
