"""One engine's numbers by conversation and by user, in the plan's order, so that two engines on the
same plan are paired: resampled percentiles, totals of means and shares, influences of users."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from suite.judging.catalogue.table import Metric
from suite.measuring.engine_run import EngineRun
from suite.measuring.latencies import samples_and_rows
from suite.measuring.user_influences import by_user
from suite.statistics.arrays import Bools, Floats, Ints, Labels, Strings
from suite.statistics.bootstrap import draws, levels_around, percentile_draws
from suite.statistics.intervals import Clusters, sums_by_label
from suite.statistics.quantiles import PERCENTILES


class PairedSamples:
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

    def percentile_draws(self, metric: Metric) -> Floats | None:
        """Returns the resamples of a latency's percentile, [NUM_RESAMPLES]; None without any."""
        if metric.label not in self._drawn:
            self._drawn[metric.label] = self._draw(metric)
        return self._drawn[metric.label]

    def totals(self, metric: Metric) -> Floats:
        """Returns what each conversation adds to a mean or share, [num_conversations, 2]: to what
        is divided by, and to what is divided."""
        whole, part, labels = self._whole_and_part(metric)
        num = self._num_conversations
        return np.stack(
            [sums_by_label(labels, whole, num), sums_by_label(labels, part, num)], axis=1
        )

    def influences(self, metric: Metric) -> Floats | None:
        """Returns each user's weight in a number over users, [num_users]; None if it is not one."""
        if metric.row.influences is None:
            return None
        users, headroom = self._records.users, self._headroom_of_users
        names, labels = self._names_and_labels
        if metric.user_class is not None:
            chosen = users.user_class == metric.user_class
            users, labels, headroom = users.where(chosen), labels[chosen], headroom[chosen]
        return by_user(metric.row.influences(users, headroom), labels, len(names))

    @cached_property
    def _names_and_labels(self) -> tuple[Strings, Ints]:
        """(the plan's users, the place among them of each row of the users' attainment): the same
        users for every engine, whomever it came to."""
        planned = self._records.measured.plan.conversations
        names = np.unique(np.array([each.user_id for each in planned], dtype=object))
        return names, np.searchsorted(names, self._records.users.user_id)

    @cached_property
    def _headroom_of_users(self) -> Floats:
        records = self._records
        return records.users.mean_of_turns(records.turns, records.headroom)

    def _draw(self, metric: Metric) -> Floats | None:
        values, labels = self._samples(metric)
        if not len(values):
            return None
        clusters, columns = Clusters.from_labels(labels), np.flatnonzero(np.bincount(labels))
        levels = levels_around(values, clusters, float(PERCENTILES[metric.row.key]))
        counts = draws(self._num_conversations)
        return percentile_draws(values, clusters, columns, counts, levels)

    def _whole_and_part(self, metric: Metric) -> tuple[Floats | None, Floats, Labels]:
        """(divisor: None = each sample counts once, dividend, the conversation of each)."""
        if metric.row.totals is None:
            values, labels = self._samples(metric)
            return None, values, labels
        whole, part = metric.row.totals(self._records.turns)
        rows = self._rows(metric) & ~np.isnan(whole) & ~np.isnan(part)
        return whole[rows], part[rows], self._column_of_turn[rows]

    def _samples(self, metric: Metric) -> tuple[Floats, Labels]:
        """(the samples of a latency, the conversation of each)."""
        turns = self._records.turns
        values, row = samples_and_rows(turns, self._rows(metric), metric.row.path[0])
        return values, self._column_of_turn[row]

    def _rows(self, metric: Metric) -> Bools:
        """Which turns count: all, or those of the metric's class."""
        turns = self._records.turns
        if metric.user_class is None:
            return np.ones(len(turns), dtype=bool)
        chosen: Bools = turns.user_class == metric.user_class
        return chosen
