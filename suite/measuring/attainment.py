"""Who was served as promised: the SLO judged per turn, then per user.

A turn attains its SLO when it succeeded, its first token came at most `ttft_s` after the planned
instant (not after the send: a late driver must not hide waiting), the stated percentile of its
token gaps is at most `tbt_s`, and its longest gap at most `max_gap_s`, where that is promised.
A failed turn misses, and so does a planned turn without a record.
A user is within SLO when the share of their planned turns that attain is at least the class's
`attainment_ratio`. Each repeat judges every user anew.

Without `max_gap_s` a percentile lets a scheduler pause one answer for minutes, so every user is
judged a second time without it: what a policy wins by such pauses is the difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np

from suite.measuring.latencies import longest_gap_per_turn
from suite.records.turn_table import TurnTable
from suite.statistics.arrays import Bools, Floats, Ints, Strings
from suite.statistics.intervals import Clusters
from suite.statistics.quantiles import Interval, exact_fraction
from suite.statistics.shares import share_interval
from workloads.branches import Branches
from workloads.plan import Plan
from workloads.plan_parts import UserClass

SHARES = ("users_within_slo_ratio", "users_within_slo_uncapped_ratio", "turn_attainment_ratio")
_ROUNDING = 1e-9  # 19/20 ≥ 0.95 must hold in floating point too


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """The plan's users as columns: shape [num_users]."""

    user_id: Strings
    user_class: Strings
    num_planned_turns: Ints
    attainment_target: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Attainment:
    """One row per user and judged repeat."""

    user_id: Strings
    user_class: Strings
    repeat: Ints
    num_planned_turns: Ints
    num_attained_turns: Ints
    is_within_slo: Bools
    is_within_uncapped: Bools  # were longest gaps left out of account

    @property
    def ratio(self) -> Floats:
        """Share of the user's planned turns that attained."""
        ratio: Floats = self.num_attained_turns / self.num_planned_turns
        return ratio

    def rows_of(self, turns: TurnTable) -> Ints:
        """[num_turns]: the row of each turn's user and repeat."""
        row_of = {
            key: row for row, key in enumerate(zip(self.user_id, self.repeat.tolist(), strict=True))
        }
        keys = zip(turns.user_id, turns.repeat.tolist(), strict=True)
        return np.array([row_of[key] for key in keys], dtype=np.int64)

    def mean_of_turns(self, turns: TurnTable, values: Floats) -> Floats:
        """[num_users]: Σ over the user's turns / planned turns; one without a record adds 0."""
        totals = np.bincount(self.rows_of(turns), weights=values, minlength=len(self.repeat))
        mean: Floats = totals / self.num_planned_turns
        return mean

    def where(self, chosen: Bools) -> Attainment:
        return Attainment(
            user_id=self.user_id[chosen],
            user_class=self.user_class[chosen],
            repeat=self.repeat[chosen],
            num_planned_turns=self.num_planned_turns[chosen],
            num_attained_turns=self.num_attained_turns[chosen],
            is_within_slo=self.is_within_slo[chosen],
            is_within_uncapped=self.is_within_uncapped[chosen],
        )


def planned_users(plan: Plan) -> Users:
    """Returns the users who have a turn, in order of their first conversation."""
    turns: dict[str, int] = {}
    class_of: dict[str, str] = {}
    for conversation in plan.conversations:
        if not conversation.turns:
            continue
        user = conversation.user_id
        turns[user] = turns.get(user, 0) + len(conversation.turns)
        class_of[user] = conversation.user_class
    target = {each.name: each.slo.attainment_ratio for each in plan.user_classes}
    return Users(
        user_id=np.array(list(turns), dtype=object),
        user_class=np.array(list(class_of.values()), dtype=object),
        num_planned_turns=np.array(list(turns.values()), dtype=np.int64),
        attainment_target=np.array([target[name] for name in class_of.values()], dtype=float),
    )


def attaining_turns(turns: TurnTable, user_classes: Sequence[UserClass]) -> Bools:
    """Tells which recorded turns attain, [num_turns]."""
    is_within: Bools = attaining_uncapped(turns, user_classes) & keeping_gaps(turns, user_classes)
    return is_within


def attaining_uncapped(turns: TurnTable, user_classes: Sequence[UserClass]) -> Bools:
    """Tells which recorded turns attain were longest gaps left out of account, [num_turns].

    The q-quantile of n gaps is ≤ bound exactly when at least ⌈q·n⌉ gaps are, so nothing is sorted.
    """
    is_within = np.zeros(len(turns), dtype=bool)
    num_gaps = turns.num_gaps
    bound = np.full(len(turns), np.inf)
    for each in user_classes:
        bound[turns.user_class == each.name] = each.slo.tbt_s
    is_short = turns.gaps <= bound[turns.gap_turn]
    num_short = np.bincount(turns.gap_turn[is_short], minlength=len(turns))
    for each in user_classes:
        rows = turns.user_class == each.name
        q = exact_fraction(each.slo.tbt_percentile)
        # in integers: num_short ≥ ⌈q · n⌉  ⇔  num_short · denominator ≥ numerator · n
        has_steady_stream = num_short * q.denominator >= q.numerator * num_gaps
        delay = turns.first_token_at - turns.scheduled_at  # NaN (no token) compares as a miss
        is_within |= rows & has_steady_stream & (delay <= each.slo.ttft_s)
    return is_within & ~turns.has_failed


def keeping_gaps(turns: TurnTable, user_classes: Sequence[UserClass]) -> Bools:
    """Tells which turns have no gap longer than their class allows, [num_turns]."""
    bound = np.full(len(turns), np.inf)
    for each in user_classes:
        if each.slo.max_gap_s is not None:
            bound[turns.user_class == each.name] = each.slo.max_gap_s
    if np.isinf(bound).all():
        return np.ones(len(turns), dtype=bool)
    keeps: Bools = ~(longest_gap_per_turn(turns) > bound)  # NaN: a turn without gaps has none long
    return keeps


def judge_users(
    users: Users,
    turns: TurnTable,
    attains: Bools,
    attains_uncapped: Bools,
    repeats: Sequence[int],
    *,
    num_not_due: Ints | None = None,
) -> Attainment:
    """Judges every planned user in every repeat that began; `attains_uncapped`: which turns would
    attain without `max_gap_s`.

    Turns without a record count as missed, but for `num_not_due` [num_users · num_repeats, users
    first]: those are not counted, and who has no other ones is not judged.
    """
    num_users, num_repeats = len(users.user_id), len(repeats)
    if num_not_due is None:
        num_not_due = np.zeros(num_users * num_repeats, dtype=np.int64)
    judged = Attainment(
        user_id=np.tile(users.user_id, num_repeats),
        user_class=np.tile(users.user_class, num_repeats),
        repeat=np.repeat(np.array(repeats, dtype=np.int64), num_users),
        num_planned_turns=np.tile(users.num_planned_turns, num_repeats) - num_not_due,
        num_attained_turns=np.zeros(num_users * num_repeats, dtype=np.int64),
        is_within_slo=np.zeros(num_users * num_repeats, dtype=bool),
        is_within_uncapped=np.zeros(num_users * num_repeats, dtype=bool),
    )
    rows = judged.rows_of(turns)
    num_attained, num_uncapped = (
        np.bincount(rows[each], minlength=len(judged.repeat))
        for each in (attains, attains_uncapped)
    )
    target = np.tile(users.attainment_target, num_repeats)
    needed = needed_turns(judged.num_planned_turns, target)
    judged = replace(
        judged,
        num_attained_turns=num_attained,
        is_within_slo=num_attained >= needed,
        is_within_uncapped=num_uncapped >= needed,
    )
    return judged.where(judged.num_planned_turns > 0) if num_not_due.any() else judged


def needed_turns(num_planned: Ints, target: Floats) -> Floats:
    """Returns how many turns of those planned have to attain for the target share, not whole."""
    needed: Floats = target * num_planned - _ROUNDING
    return needed


def turns_not_due(
    plan: Plan, users: Users, turns: TurnTable, repeats: Sequence[int], stopped: Container[int]
) -> Ints:
    """[num_users · num_repeats]: planned turns of the stopped repeats that were not asked, but for
    those that an earlier turn's failure kept from it."""
    place = {user_id: number for number, user_id in enumerate(users.user_id)}
    found = np.zeros((len(repeats), len(place)), dtype=np.int64)
    for number, repeat in enumerate(repeats):
        if repeat not in stopped:
            continue
        rows = turns.repeat == repeat
        num_recorded = Counter(turns.conversation_id[rows].tolist())
        failed = failed_conversations(turns.where(rows & turns.has_failed), plan)
        for each in plan.conversations:
            if each.turns and each.conversation_id not in failed:
                missing = len(each.turns) - num_recorded[each.conversation_id]
                found[number, place[each.user_id]] += missing
    return found.ravel()


def failed_conversations(turns: TurnTable, plan: Plan) -> set[str]:
    """Returns the conversations of which a turn failed, or that could not begin for such a one."""
    branches = Branches(plan.conversations)
    failed = set(turns.conversation_id.tolist())
    for conversation_id, turn in zip(turns.conversation_id, turns.turn.tolist(), strict=True):
        behind = branches.behind(conversation_id, turn)
        failed.update(plan.conversations[place].conversation_id for place in behind)
    return failed


def share_intervals(users: Attainment) -> dict[str, Interval | None]:
    """Returns the intervals of the shares of users and of turns; a user is a cluster, over all
    repeats."""
    if not len(users.repeat):
        return dict.fromkeys(SHARES)
    clusters = Clusters.from_labels(np.unique(users.user_id, return_inverse=True)[1])
    num_turns = clusters.sums(users.num_planned_turns.astype(np.float64))
    num_attained = clusters.sums(users.num_attained_turns.astype(np.float64))
    return {
        "users_within_slo_ratio": share_interval(
            clusters.sums(users.is_within_slo), clusters.sizes
        ),
        "users_within_slo_uncapped_ratio": share_interval(
            clusters.sums(users.is_within_uncapped), clusters.sizes
        ),
        "turn_attainment_ratio": share_interval(num_attained, num_turns),
    }
