"""What the page's words mean: one or two plain sentences each, shown behind every "?".

Metrics are explained by their own rows of the catalogue, everything else here.
"""

from __future__ import annotations

from suite.judging.catalogue.latencies import FAMILIES
from suite.judging.catalogue.table import ROWS

_LATENCIES = {
    each.name: (each.title, f"{each.definition} {each.remark}".rstrip())
    for each in FAMILIES
    if each.is_explained
}
_METRICS = {
    row.term: (row.title or row.label, f"{row.definition} {row.remark}".rstrip())
    for row in ROWS.values()
    if row.term
}
# Term: its name on the page, and the explanation.
GLOSSARY: dict[str, tuple[str, str]] = {
    **_METRICS,
    **_LATENCIES,
    "interval": (
        "Interval",
        "95 % confidence interval. Turns of one conversation are not independent, so it is "
        "conversations that are counted; a percentile's ends are order statistics, without "
        "assuming any distribution. Open where the sample is too small to bound it. A percentile "
        "itself needs at least one sample expected beyond it: P99 100 samples, P99.9 1,000.",
    ),
    "learning_curves": (
        "Learning curves",
        "What a network in training does on shops that it never trains on, checkpoint by "
        "checkpoint: its makespans, deciding greedily, over those of the rule FIFO with blocked "
        "jobs first. First it has lessons from rollouts, then it learns from its own plays (PPO).",
    ),
    "gates": (
        "Gates",
        "Bounds the workload file sets. A number passes or fails only if its whole interval "
        "lies on one side of the bound; otherwise the gate is inconclusive.",
    ),
    "kv_occupancy": (
        "KV occupancy",
        "How much of the KV cache on the device and of the swap space on the host is in use.",
    ),
    "latency_shares": (
        "Where the time went",
        "Inside the engine a request is at any instant queued (never on the device yet), preempted "
        "(sent away), waiting for its KV to be swapped in, held on the device without being in the "
        "batch, stalled (its batch waits for a transfer), or computing. Shares are of the summed "
        "latency of all finished requests.",
    ),
    "timeline": (
        "Turn timeline",
        "Every turn as a bar in its conversation's lane: grey while waiting for the first token, "
        "then coloured by the longest gap of its stream.",
    ),
    "slo_use": (
        "Times its SLO",
        "How much of its promise a turn needed: the larger of first-token delay / TTFT bound and "
        "token gap (at the class's percentile) / TBT bound. Up to 1 the turn is within its SLO; 2 "
        "means twice as slow as promised, 0.5 that half the time would have done.",
    ),
    "service": (
        "Service",
        "Tokens a user received, weighted as in VTC: 1 for each prompt token (history included), "
        "2 for each output token. The rate is per second in which the user was waiting for an "
        "answer. The gap is how much more one of two users got than the other since both have been "
        "waiting, for the two who are furthest apart: nobody counts who asked for nothing.",
    ),
    "lorenz": (
        "Lorenz curve and Gini index",
        "Users in order from the worst to the best served, against the share of all that they "
        "have together. The Gini index is twice the area between the curve and the diagonal: 0 "
        "when all have the same, near 1 when one user has everything.",
    ),
    "comparison": (
        "Ratio and verdict",
        "The candidate's number / the baseline's. Both played the same plan, so the interval is "
        "paired: what a conversation or user does to both cancels. Better or worse is said only "
        "where the whole interval that is shown lies on one side of 1. It holds that between "
        "repeats too; with too few of them to tell an engine from the level of its run it reaches "
        "a further factor of 2 on either side, and where turns were sent late as much further as "
        "that could have changed the ratio.",
    ),
    "references": (
        "Published and ours",
        "By how many times one design was found better than another: the other's time / its time, "
        "and for throughput the other way about, so above 1 is better. Published bands come from "
        "the source that is named, on its own machine and work.",
    ),
    "pareto": (
        "Pareto front",
        "The points that no other point beats in both directions at once. Everything off the front "
        "gives away something for nothing.",
    ),
}
