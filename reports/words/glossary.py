"""What the page's words mean: one or two plain sentences each, shown behind every "?"."""

from __future__ import annotations

GLOSSARY: dict[str, tuple[str, str]] = {
    "users_within_slo": (
        "Users within SLO",
        "The share of users who got what they were promised: a user counts when enough of their "
        "turns (the class's attainment) had both a first token and token gaps inside the class's "
        "SLO. Failed and lost turns count as missed. This is what fairness is for: more users "
        "served as promised at the same cost.",
    ),
    "turn_attainment": (
        "Turn attainment",
        "The share of planned turns that met their SLO: first token in time, counted from the "
        "planned instant, and the stated percentile of the turn's token gaps in time.",
    ),
    "ttft": (
        "TTFT, time to first token",
        "From the moment the request was sent until its first token arrived. P99 is the value "
        "that 99 of 100 turns stayed below.",
    ),
    "first_token_delay": (
        "First-token delay",
        "Like TTFT, but counted from the instant the turn was planned for. The SLO judges this "
        "one, so that a driver that sends late cannot hide waiting.",
    ),
    "tbt": (
        "TBT, time between tokens",
        "The pause between one arrival of tokens and the next within one answer (also called "
        "inter-token latency). Its tail is what a reader feels as stalls. Percentiles are taken "
        "over all pauses of all turns pooled.",
    ),
    "tpot": (
        "TPOT, time per output token",
        "One number per turn: the time from first to last token divided by the tokens after the "
        "first. An average, so it hides single stalls; look at TBT for those.",
    ),
    "e2e": ("End-to-end latency", "From the moment the request was sent until its last byte."),
    "throughput": (
        "Throughput",
        "Output tokens of successful turns per second, from the first planned turn to the end of "
        "the last one, thinking pauses of the users included.",
    ),
    "preemptions": (
        "Preemptions",
        "How often the engine took the device away from a request that was not finished. Its KV "
        "cache is swapped out to host memory or dropped, and must come back later.",
    ),
    "stall": (
        "Stall share",
        "The share of the engine's step time in which the device stood idle for a KV transfer.",
    ),
    "blocks_per_copy": (
        "Blocks per copy",
        "How many neighbouring KV blocks moved in one run when swapping. More is better: few large "
        "copies use the link, many small ones waste it.",
    ),
    "reused_tokens": (
        "Reused prompt tokens",
        "The share of prompt tokens whose KV cache was kept from an earlier turn and did not have "
        "to be computed again.",
    ),
    "jain": (
        "Jain's index",
        "How evenly SLO attainment is spread over users: 1 is perfectly even, 1/n means one user "
        "has everything.",
    ),
    "worst_user": (
        "Worst user",
        "The SLO attainment of the user served worst, and of the 5th percentile of users.",
    ),
    "longest_gap": (
        "Longest gap",
        "The longest pause between two tokens of one answer, failed turns included.",
    ),
    "failed_lost": (
        "Failed and lost turns",
        "Failed: the server answered with an error or not at all. Not asked: an earlier turn of "
        "its conversation had failed, and it misses its SLO too; or the run was stopped before it, "
        "and it is in no number. Lost: planned, but the run holds no record of it; it misses.",
    ),
    "interval": (
        "Interval",
        "95 % confidence interval. Turns of one conversation are not independent, so it is "
        "conversations that are counted; a percentile's ends are order statistics, without "
        "assuming any distribution. Open where the sample is too small to bound it. A percentile "
        "itself needs at least one sample expected beyond it: P99 100 samples, P99.9 1,000.",
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
    "driver_lag": (
        "Driver lag",
        "How late the load driver itself sent a request after its planned instant. When it is "
        "large, the run says more about the driver than about the engine.",
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
        "where the whole interval lies on one side of 1; with too few repeats to tell an engine "
        "from the level of its run, only where it lies beyond a further factor of 2.",
    ),
    "references": (
        "Published and ours",
        "By how many times one design was found better than another: the other's time / its time, "
        "and for throughput the other way about, so above 1 is better. Published bands come from "
        "the source that is named, on its own machine and work.",
    ),
    "goodput": (
        "Goodput",
        "Turns within their SLO per second; DistServe's goodput is the highest load at which 90 % "
        "of the turns still are.",
    ),
    "pareto": (
        "Pareto front",
        "The points that no other point beats in both directions at once. Everything off the front "
        "gives away something for nothing.",
    ),
}
