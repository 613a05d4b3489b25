"""Rows on the work that was done: throughput, the backlog, what switching between users cost."""

from __future__ import annotations

from functools import partial

from suite.judging.catalogue.row import Better, Kind, Place, Pooling, Row
from suite.measuring.tokens import prompt_and_cached_tokens

_OF_ALL_TURNS = partial(
    Row, group="throughput", kind="rate", better="higher", computed_from="turns"
)

THROUGHPUT_ROWS = (
    _OF_ALL_TURNS(
        key="output_tokens_per_s",
        label="Output tokens/s",
        term="throughput",
        title="Throughput",
        definition="Output tokens of successful turns per second, from the first planned turn to "
        "the end of the last one, thinking pauses of the users included.",
        unit="tokens/s",
        shown_in=(
            "terminal",
            "side by side",
            "sweep",
            "compared",
            "headline",
            "drawn ratios",
            "sweep page",
        ),
    ),
    _OF_ALL_TURNS(
        key="turns_per_s",
        label="Turns/s",
        definition="Turns that succeeded per second, counted as output tokens/s.",
        unit="turns/s",
        shown_in=("sweep", "compared"),
    ),
    _OF_ALL_TURNS(
        key="goodput_turns_per_s",
        label="Goodput, turns within SLO/s",
        term="goodput",
        title="Goodput",
        definition="Turns within their SLO per second; DistServe's goodput is the highest load at "
        "which 90 % of the turns still are.",
        unit="turns/s",
        shown_in=("side by side", "compared", "sweep page"),
    ),
    Row(
        group="",
        key="tokens_per_chunk_mean",
        label="Tokens a chunk",
        definition="Output tokens for each arrival of tokens.",
        kind="amount",
        better="neither",
        computed_from="turns",
        shown_in=("side by side",),
    ),
    Row(
        group="prompts",
        key="cached_tokens_ratio",
        label="Prompt tokens cached",
        term="cached_tokens",
        definition="The share of prompt tokens that the server says came from its prefix cache, of "
        "the turns for which it tells.",
        remark="Every turn sends its conversation's history again: what is cached is not computed "
        "again.",
        kind="share",
        better="higher",
        computed_from="turns",
        is_timed=False,
        interval="bootstrap-t over conversations",
        totals=prompt_and_cached_tokens,
        scopes=("class",),
        shown_in=("side by side", "compared"),
    ),
    Row(
        group="prompt_lengths",
        key="counted_ratio",
        label="Prompt tokens, counted / planned",
        definition="Prompt tokens by the server's count / planned ones, of the turns for which it "
        "counts; the answers before them as the server counted them.",
        kind="multiple",
        better="neither",
        computed_from="turns",
        is_timed=False,
        shown_in=("side by side",),
    ),
)

BACKLOG_ROWS = (
    Row(
        group="steady_state",
        key="served_ratio",
        is_monotone=False,
        label="Served of what was due",
        definition="Turns that ended / turns that were due without any waiting, in the second half "
        "of the time in which conversations start.",
        kind="amount",
        better="higher",
        computed_from="backlog",
        pooled_by="extreme",
        shown_in=("sweep", "compared"),
    ),
)


def _switching(
    key: str,
    label: str,
    definition: str,
    better: Better = "lower",
    *,
    kind: Kind = "count",
    unit: str = "",
    pooled_by: Pooling = "sum",
    shown_in: tuple[Place, ...] = (),
    term: str = "",
    remark: str = "",
) -> Row:
    compared: tuple[Place, ...] = () if better == "neither" else ("compared",)
    return Row(
        group="context_switch",
        key=key,
        label=label,
        definition=definition,
        remark=remark,
        term=term,
        kind=kind,
        unit=unit,
        better=better,
        computed_from="engine's logs",
        is_timed=False,
        pooled_by=pooled_by,
        shown_in=shown_in + compared,
    )


_ratio = partial(_switching, kind="share", pooled_by="mean")

SWITCHING_ROWS = (
    _switching(
        "num_preemptions",
        "Preemptions",
        "How often the engine took the device away from a request that was not finished.",
        remark="Its KV cache is swapped out to host memory or dropped, and must come back later.",
        term="preemptions",
        shown_in=("terminal", "side by side", "cards", "sweep", "sweep page"),
    ),
    _switching(
        "num_recompute_preemptions",
        "Preemptions with recompute",
        "Preemptions whose KV was dropped instead of swapped out.",
    ),
    _switching("num_swap_out_blocks", "Blocks swapped out", "KV blocks moved to the host."),
    _switching("num_swap_in_blocks", "Blocks swapped in", "KV blocks moved back to the device."),
    _switching("num_copies", "Copy calls", "Copy calls: runs of blocks × layers × 2 for K and V."),
    _switching("num_copied_bytes", "Bytes copied", "Bytes that all copies moved.", unit="bytes"),
    _switching(
        "num_conflicts",
        "Transfers waited for in conflict",
        "Transfers waited for because somebody needed their blocks, or nothing else could run.",
        shown_in=("side by side",),
    ),
    _switching("num_sync_swap_ins", "Swap-ins waited for", "Swap-ins waited for by choice."),
    _switching(
        "num_async_swap_ins",
        "Swap-ins beside the model",
        "Swap-ins during which the model ran on.",
        "higher",
    ),
    _switching(
        "num_contaminated_blocks",
        "Kept copies overwritten",
        "Host blocks of kept copies that were taken for another request's swap-out.",
    ),
    _switching(
        "num_group_splits",
        "Block groups split",
        "Unused tails split off another request's block group.",
    ),
    _switching(
        "mean_blocks_per_copy",
        "Blocks per copy",
        "How many neighbouring KV blocks moved in one run when swapping.",
        "higher",
        remark="More is better: few large copies use the link, many small ones waste it.",
        term="blocks_per_copy",
        kind="amount",
        pooled_by="mean",
        shown_in=("side by side", "sweep"),
    ),
    *(
        _switching(
            f"swap_{way}_bytes_per_s",
            f"Swap-{way} bandwidth",
            f"Bytes of swap-{way}s / time in which at least one was being copied.",
            "higher",
            kind="rate",
            unit="bytes/s",
            pooled_by="mean",
            shown_in=("side by side",),
        )
        for way in ("out", "in")
    ),
    _switching(
        "stall_s",
        "Time stalled for transfers",
        "Time the engine stood idle for KV transfers.",
        kind="time",
        unit="s",
    ),
    _ratio(
        "stall_ratio",
        "Stalled for transfers",
        "The share of the engine's step time in which the device stood idle for a KV transfer.",
        term="stall",
        shown_in=("side by side", "sweep"),
    ),
    _switching(
        "bookkeeping_s", "Bookkeeping time", "The scheduler's own time.", kind="time", unit="s"
    ),
    _ratio("bookkeeping_ratio", "Bookkeeping", "The scheduler's share of the engine's step time."),
    _switching(
        "num_reused_tokens",
        "Reused prompt tokens",
        "Prompt tokens admitted with KV of an earlier turn.",
        "higher",
        unit="tokens",
    ),
    _switching(
        "num_recomputed_tokens",
        "Tokens computed again",
        "Tokens computed again after their KV was dropped.",
        unit="tokens",
    ),
    _ratio(
        "reused_tokens_ratio",
        "Prompt tokens reused",
        "The share of prompt tokens whose KV cache was kept from an earlier turn and did not have "
        "to be computed again.",
        "higher",
        term="reused_tokens",
        shown_in=("side by side",),
    ),
    *(
        _ratio(
            f"latency_shares.{key}",
            f"Latency spent {state}",
            f"The share of the summed latency of finished requests that they spent {state}.",
            "neither",
            shown_in=("side by side",),
        )
        for key, state in (
            ("preempted_ratio", "preempted"),
            ("swap_wait_ratio", "waiting for swap-ins"),
        )
    ),
)

_turns = partial(
    Row,
    group="counts",
    kind="count",
    unit="turns",
    better="lower",
    computed_from="number of turns",
    is_timed=False,
    is_true_of_a_warm_cache=True,
    pooled_by="sum",
)
TURN_COUNT_ROWS = (
    _turns(
        key="failed",
        label="Failed turns",
        term="failed_lost",
        title="Failed and lost turns",
        definition="Failed: the server answered with an error or not at all.",
        remark="Not asked: an earlier turn of its conversation had failed, and it misses its SLO "
        "too; or the run was stopped before it, and it is in no number. Lost: planned, but the run "
        "holds no record of it; it misses.",
        shown_in=("terminal", "cards", "sweep", "compared"),
    ),
    _turns(
        key="lost",
        label="Lost turns",
        definition="Planned turns of which the run holds no record.",
        shown_in=("sweep", "compared"),
    ),
)
