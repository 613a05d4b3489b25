"""The latencies' rows: eight distributions over turns or gaps, seven statistics of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from suite.judging.catalogue.row import IntervalRule, Place, Row, Scope
from suite.statistics.quantiles import PERCENTILES

STATISTICS = ("mean", *PERCENTILES, "max")
COMPARED = ("mean", "p50", "p99", "p999")
TITLES = {"mean": "mean", "max": "maximum", "p999": "P99.9"} | {
    name: name.upper() for name in PERCENTILES if name != "p999"
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """One distribution, and what its statistics have in common."""

    name: str  # in a gate; with _s in metrics.json
    label: str
    title: str  # in the glossary
    definition: str
    remark: str = ""
    is_explained: bool = True  # in the page's glossary
    is_timed: bool = True
    is_of_gaps: bool = False
    is_of_spans: bool = False
    is_compared: bool = True
    is_by_turn: bool = False
    # Statistic ▸ where it is shown besides comparisons.
    shown_in: dict[str, tuple[Place, ...]] = field(default_factory=dict)


FAMILIES = (
    Latency(
        name="ttft",
        label="TTFT",
        title="TTFT, time to first token",
        definition="From the moment the request was sent until its first token arrived.",
        remark="P99 is the value that 99 of 100 turns stayed below.",
        is_by_turn=True,
        shown_in={
            "p50": ("terminal", "side by side", "class table", "sweep", "headline", "drawn ratios"),
            "p99": (
                "terminal",
                "side by side",
                "class table",
                "cards",
                "sweep",
                "sweep table",
                "headline",
                "drawn ratios",
                "sweep page",
                "compared by class",
            ),
            "p999": ("terminal", "side by side", "sweep", "headline", "drawn ratios"),
        },
    ),
    Latency(
        name="first_token_delay",
        label="First-token delay",
        title="First-token delay",
        definition="Like TTFT, but counted from the instant the turn was planned for.",
        remark="The SLO judges this one, so that a driver that sends late cannot hide waiting.",
    ),
    Latency(
        name="tbt",
        is_of_gaps=True,
        label="TBT",
        title="TBT, time between tokens",
        definition="The pause between one arrival of tokens and the next within one answer (also "
        "called inter-token latency).",
        remark="Its tail is what a reader feels as stalls. Percentiles are taken over all pauses "
        "of all turns pooled.",
        is_by_turn=True,
        shown_in={
            "p50": ("terminal", "side by side", "sweep", "headline", "drawn ratios"),
            "p99": (
                "terminal",
                "side by side",
                "class table",
                "sweep",
                "sweep table",
                "headline",
                "drawn ratios",
                "sweep page",
                "compared by class",
            ),
            "p999": (
                "terminal",
                "side by side",
                "class table",
                "cards",
                "sweep",
                "headline",
                "drawn ratios",
            ),
        },
    ),
    Latency(
        name="max_tbt",
        is_of_gaps=True,
        label="Longest gap of a turn",
        title="Longest gap of a turn",
        definition="The longest pause between two arrivals of tokens in one answer, one value a "
        "turn.",
        is_explained=False,
        shown_in={"p99": ("drawn ratios",)},
    ),
    Latency(
        name="tpot",
        is_of_spans=True,
        label="TPOT",
        title="TPOT, time per output token",
        definition="One number per turn: the time from first to last token divided by the tokens "
        "after the first.",
        remark="An average, so it hides single stalls; look at TBT for those.",
        shown_in={"p50": ("side by side",)},
    ),
    Latency(
        name="e2e",
        label="End-to-end",
        title="End-to-end latency",
        definition="From the moment the request was sent until its last byte.",
        shown_in={"p99": ("side by side", "drawn ratios")},
    ),
    Latency(
        name="normalised_latency",
        label="Latency per output token",
        title="Normalised latency",
        definition="End-to-end latency divided by the output tokens, as in Orca and vLLM.",
        is_explained=False,
    ),
    Latency(
        name="driver_lag",
        label="Driver lag",
        title="Driver lag",
        definition="How late the load driver itself sent a request after its planned instant.",
        remark="When it is large, the run says more about the driver than about the engine.",
        is_timed=False,
        is_compared=False,
    ),
)


def latency_rows() -> Iterator[Row]:
    for family in FAMILIES:
        for statistic in STATISTICS:
            yield _row(family, statistic)


def _row(family: Latency, statistic: str) -> Row:
    compared: tuple[Place, ...] = ("compared",) if family.is_compared else ()
    scopes: tuple[Scope, ...] = ("class", "turn") if family.is_by_turn else ("class",)
    return Row(
        group=family.name,
        key=statistic,
        label=f"{family.label} {TITLES[statistic]}",
        prose=f"{TITLES[statistic]} {family.label}",
        definition=family.definition,
        kind="time",
        unit="s",
        better="lower",
        computed_from="turns",
        is_timed=family.is_timed,
        is_of_gaps=family.is_of_gaps,
        is_of_spans=family.is_of_spans,
        is_true_of_a_warm_cache=not family.is_timed,  # the driver's own
        interval=_interval(statistic),
        is_latency=True,
        pooled_by="extreme" if statistic == "max" else "mean",
        scopes=scopes,
        shown_in=family.shown_in.get(statistic, ()) + (compared if statistic in COMPARED else ()),
    )


def _interval(statistic: str) -> IntervalRule | None:
    """None for the largest value: it is what happened, not an estimate."""
    if statistic == "max":
        return None
    return (
        "bootstrap-t over conversations"
        if statistic == "mean"
        else "order statistics of conversations"
    )
