"""Blocks on latencies: tails, distributions per class, turn after turn, the driver's own lag."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reports.blocks.block import Block, Figure, Json, RunData
from reports.drawing.thinning import Ecdf
from reports.figures import latency as draw
from reports.words import units
from workloads.plan_parts import UserClass


def tails(data: RunData) -> Block:
    shown = []
    for key, title in (("ttft_s", "Time to first token"), ("tbt_s", "Time between tokens")):
        summaries = {name: each[key] for name, each in data.numbers.items() if each[key]["count"]}
        if summaries:
            figure = draw.tail_percentiles(summaries, data.look, title.lower())
            note = _left_out(summaries)
            shown.append(Figure(figure_id=f"tail-{key}", title=title, note=note, figure=figure))
    return Block(
        title="How far the tails go",
        term="interval",
        how_to_read="Lower is better, and flat to the right means no stalls. Whiskers are 95 % "
        "intervals; where those of two engines overlap, the run does not tell them apart. One that "
        "leaves the figure is open: too few samples to bound it. Time is on a log scale.",
        figures=tuple(shown),
    )


def _left_out(summaries: Mapping[str, Json]) -> str:
    missing = [
        f"{name}: {', '.join(draw.TAIL[each] for each in summary['unavailable'])}"
        for name, summary in summaries.items()
        if summary["unavailable"]
    ]
    return f"Too few samples to show {'; '.join(missing)}." if missing else ""


def ecdfs(data: RunData, key: str) -> Block:
    is_tbt = key == "tbt_s"
    shown = [_class_ecdf(data, key, each) for each in data.plan.user_classes]
    what = "token gaps" if is_tbt else "turns"
    judged = (
        "the SLO judges a percentile of each turn's gaps, this pools the gaps of all turns"
        if is_tbt
        else "the delay counts from the planned instant, as the SLO does"
    )
    return Block(
        title="Time between tokens, per class" if is_tbt else "First token, per class",
        term="tbt" if is_tbt else "first_token_delay",
        how_to_read=f"How many {what} were at most this slow: further left is better. Each step "
        "up the axis is one more nine, so the tail gets its room. Bands: 95 %, open "
        f"ends take the next percentile's. Dashed: the class's SLO ({judged}).",
        figures=tuple(each for each in shown if each is not None),
    )


def _class_ecdf(data: RunData, key: str, user_class: UserClass) -> Figure | None:
    found = {
        name: each.latency.by_class[key, user_class.name] for name, each in data.engines.items()
    }
    if not any(each.num_samples for each in found.values()):
        return None
    slo_s = user_class.slo.tbt_s if key == "tbt_s" else user_class.slo.ttft_s
    title = "time between tokens" if key == "tbt_s" else "first-token delay"
    return Figure(
        figure_id=f"ecdf-{key}-{user_class.name}",
        title=user_class.name,
        note=_thinned(found.values()),
        figure=draw.latency_ecdf(found, data.look, title, slo_s),
    )


def _thinned(ecdfs: Iterable[Ecdf]) -> str:
    thinned = [each for each in ecdfs if each.is_thinned]
    if not thinned:
        return ""
    most = max(each.num_samples for each in thinned)
    drawn = max(len(each.value) for each in thinned)
    return (
        f"Drawn from up to {units.count(most)} samples by at most {drawn} of them per line; the "
        "slowest 100 are all there."
    )


def by_turn(data: RunData) -> Block:
    found = {
        name: {turn: each["ttft_s"] for turn, each in engine["by_turn"].items()}
        for name, engine in data.numbers.items()
    }
    is_worth_it = any(len(each) > 1 for each in found.values())
    figure = Figure(
        figure_id="ttft-by-turn",
        title="Time to first token",
        note="Turn numbers with too few samples for a percentile are left out.",
        figure=draw.latency_by_turn(found, data.look, "time to first token"),
    )
    return Block(
        title="Later turns",
        term="ttft",
        how_to_read="A line that climbs means that a longer history makes the user wait longer; "
        "KV reuse keeps it flat. Thick: median, thin: P90.",
        figures=(figure,) if is_worth_it else (),
    )


def driver_lag(data: RunData) -> Block:
    """Of engines in virtual time there is none: no driver took part."""
    found = {
        name: each.latency.driver_lag
        for name, each in data.engines.items()
        if not data.numbers[name]["is_exact"]
    }
    shown: tuple[Figure, ...] = ()
    if any(each.num_samples for each in found.values()):
        note = " ".join(["Lags below 1 µs are drawn at 1 µs.", _thinned(found.values())]).strip()
        figure = draw.latency_ecdf(found, data.look, "sent after the planned instant", None)
        shown = (Figure(figure_id="driver-lag", title="Driver lag", note=note, figure=figure),)
    return Block(
        title="Can the driver be trusted",
        term="driver_lag",
        how_to_read="How late the driver itself was: it should end far left of every SLO.",
        figures=shown,
    )
