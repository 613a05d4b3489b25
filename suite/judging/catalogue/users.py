"""Rows on who was served as promised (`slo`) and how evenly (`fairness`)."""

from __future__ import annotations

from functools import partial

from suite.judging.catalogue.row import IntervalRule, Row
from suite.measuring import user_influences

_OF_USERS = partial(Row, computed_from="users", interval="bootstrap-t over users")
_OF_SERVICE = partial(Row, group="fairness", computed_from="service", is_monotone=False)
_WINDOWED = partial(
    _OF_SERVICE, kind="amount", unit="weighted tokens", better="lower", shown_in=("compared",)
)

SLO_ROWS = (
    Row(
        group="slo",
        key="users_within_slo_ratio",
        label="Users within SLO",
        term="users_within_slo",
        definition="The share of users who got what they were promised: a user counts when enough "
        "of their turns (the class's attainment) had their first token and token gaps inside the "
        "class's SLO.",
        remark="Failed and lost turns count as missed. This is what fairness is for: more users "
        "served as promised at the same cost.",
        kind="share",
        better="higher",
        computed_from="users",
        interval="mid-P over users",
        influences=user_influences.users_within_slo,
        scopes=("class",),
        shown_in=(
            "terminal",
            "side by side",
            "class table",
            "cards",
            "sweep",
            "sweep table",
            "compared",
            "compared by class",
            "headline",
            "drawn ratios",
            "sweep page",
        ),
    ),
    Row(
        group="slo",
        key="users_within_slo_uncapped_ratio",
        label="Users within SLO, gaps uncapped",
        term="users_within_slo_uncapped",
        definition="The share of users who would be within SLO were longest gaps left out of "
        "account: what the class's `max_gap` takes away is the difference.",
        remark="A percentile of the gaps says nothing of one gap in a hundred, so a scheduler can "
        "win users by pausing single answers for minutes. Where both shares are near each other, "
        "it did not.",
        kind="share",
        better="higher",
        computed_from="users",
        interval="mid-P over users",
        influences=user_influences.users_within_uncapped,
        scopes=("class",),
        shown_in=("side by side", "class table", "sweep", "compared", "compared by class"),
    ),
    Row(
        group="slo",
        key="turn_attainment_ratio",
        label="Turns within SLO",
        term="turn_attainment",
        title="Turn attainment",
        definition="The share of planned turns that met their SLO: first token in time, counted "
        "from the planned instant, the stated percentile of the turn's token gaps in time, and no "
        "gap over the class's `max_gap`.",
        kind="share",
        better="higher",
        computed_from="users",
        interval="mid-P over users",
        influences=user_influences.turn_attainment,
        scopes=("class",),
        shown_in=(
            "side by side",
            "class table",
            "sweep",
            "compared",
            "compared by class",
            "drawn ratios",
            "sweep page",
        ),
    ),
    Row(
        group="slo",
        key="fluidity_index",
        label="Fluidity index",
        definition="The share of chunks that met their deadline, where time won is carried on and "
        "a late chunk misses one deadline for each TBT bound it is late (Etalon).",
        kind="share",
        better="higher",
        computed_from="turns",
        scopes=("class",),
        shown_in=("side by side", "compared"),
    ),
)

ATTAINMENT_ROWS = (
    _OF_USERS(
        group="fairness",
        key="jain_index",
        is_monotone=False,
        label="Jain's index (attainment)",
        term="jain",
        title="Jain's index",
        definition="How evenly SLO attainment is spread over users: 1 is perfectly even, 1/n means "
        "one user has everything.",
        kind="index",
        better="higher",
        influences=user_influences.jain,
        shown_in=("side by side", "compared", "headline", "drawn ratios"),
    ),
    _OF_SERVICE(
        key="jain_service_index",
        label="Jain's index (service)",
        definition="How evenly service per second of waiting is spread over users.",
        kind="index",
        better="higher",
        shown_in=("compared",),
    ),
    _OF_USERS(
        group="fairness",
        key="gini_index",
        is_monotone=False,
        label="Gini (attainment)",
        definition="How unevenly SLO attainment is spread over users: 0 when all have the same, "
        "near 1 when one user has everything.",
        kind="index",
        better="lower",
        influences=user_influences.gini,
        shown_in=("side by side", "compared"),
    ),
    _OF_SERVICE(
        key="gini_service_index",
        label="Gini (service)",
        definition="How unevenly service per second of waiting is spread over users.",
        kind="index",
        better="lower",
        shown_in=("compared",),
    ),
    _OF_SERVICE(
        key="max_service_difference",
        label="Largest service difference",
        definition="The largest difference in weighted tokens received between two users in any "
        "interval in which both wait (VTC).",
        kind="amount",
        unit="weighted tokens",
        better="lower",
        pooled_by="extreme",
        shown_in=("compared",),
    ),
    _WINDOWED(
        key="window_service_difference_max",
        label="Service difference in a window, maximum",
        definition="The largest difference in service between two waiting users in one of twenty "
        "windows.",
        pooled_by="extreme",
    ),
    _WINDOWED(
        key="window_service_difference_mean",
        label="Service difference in a window, mean",
        definition="The mean over windows of the largest difference in service between two "
        "waiting users.",
    ),
    _WINDOWED(
        key="window_service_difference_variance",
        label="Service difference in a window, variance",
        definition="The variance over windows of the largest difference in service between two "
        "waiting users.",
        unit="weighted tokens²",
    ),
    Row(
        group="fairness",
        key="worst_user_attainment_ratio",
        label="Worst user's attainment",
        term="worst_user",
        title="Worst user",
        definition="The SLO attainment of the user served worst.",
        kind="share",
        better="higher",
        computed_from="users",
        pooled_by="extreme",
        shown_in=("side by side", "compared", "headline"),
    ),
    _OF_USERS(
        group="fairness",
        key="p5_user_attainment_ratio",
        label="Attainment of the 5th percentile of users",
        definition="The SLO attainment that 95 of 100 users stay above.",
        kind="share",
        better="higher",
        interval="order statistics of users",
        influences=user_influences.p5_attainment,
        shown_in=("compared",),
    ),
    _OF_USERS(
        group="fairness",
        key="mean_user_attainment_ratio",
        label="Mean attainment of users",
        definition="The mean over users of the share of their turns that attained.",
        kind="share",
        better="higher",
        influences=user_influences.mean_attainment,
        shown_in=("compared",),
    ),
    _OF_USERS(
        group="fairness",
        key="headroom_mean_ratio",
        label="Mean headroom",
        definition="The part of the promise that users did not need, in the mean.",
        kind="share",
        better="higher",
        influences=user_influences.mean_headroom,
        shown_in=("compared",),
    ),
    Row(
        group="fairness",
        key="headroom_best_user_ratio",
        label="Headroom of the best user",
        definition="The largest part of the promise that any user did not need.",
        kind="share",
        better="lower",
        computed_from="users",
        pooled_by="extreme",
        shown_in=("compared",),
    ),
    Row(
        group="fairness",
        key="headroom_top_decile_ratio",
        is_monotone=False,
        label="Headroom of the best tenth",
        definition="The share of all headroom that the tenth of the users with the most have.",
        kind="share",
        better="lower",
        computed_from="users",
        shown_in=("compared",),
    ),
)


def _slowdown(key: str, label: str, interval: IntervalRule | None) -> Row:
    return Row(
        group="fairness",
        key=f"slowdown_{key}",
        label=f"Slowdown against playing alone, {label}",
        definition=f"{label.capitalize()} of a turn's end-to-end latency divided by that of the "
        "same turn played alone.",
        kind="multiple",
        better="lower",
        computed_from="solo run",
        interval=interval,
        pooled_by="mean" if interval else "extreme",
        scopes=("class",),
        shown_in=("side by side", "compared") if key == "p99" else ("compared",),
    )


FAIRNESS_ROWS = (
    *ATTAINMENT_ROWS,
    _slowdown("mean", "mean", "bootstrap-t over conversations"),
    _slowdown("p50", "P50", "order statistics of conversations"),
    _slowdown("p99", "P99", "order statistics of conversations"),
    _slowdown("max", "maximum", None),
    Row(
        group="fairness",
        key="longest_gap_s",
        label="Longest gap",
        term="longest_gap",
        definition="The longest pause between two tokens of one answer, failed turns included.",
        is_of_gaps=True,
        kind="time",
        unit="s",
        better="lower",
        computed_from="turns",
        pooled_by="extreme",
        shown_in=("side by side", "sweep", "sweep table", "sweep page", "compared"),
    ),
    Row(
        group="fairness",
        key="longest_wait_s",
        label="Longest wait",
        term="longest_wait",
        definition="The longest time from a turn's planned instant to its first token, or to its "
        "end without any.",
        kind="time",
        unit="s",
        better="lower",
        computed_from="turns",
        pooled_by="extreme",
        shown_in=("side by side", "sweep", "sweep table", "sweep page", "compared"),
    ),
    Row(
        group="fairness",
        key="num_abandoned_turns",
        label="Turns without a whole answer",
        definition="Planned turns that failed or were lost.",
        kind="count",
        unit="turns",
        better="lower",
        computed_from="turns",
        pooled_by="sum",
        shown_in=("side by side", "compared"),
    ),
    Row(
        group="fairness",
        key="abandoned_turns_ratio",
        label="Share of turns without a whole answer",
        definition="The share of planned turns that failed or were lost.",
        kind="share",
        better="lower",
        computed_from="turns",
        shown_in=("compared",),
    ),
)
