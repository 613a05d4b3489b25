"""Sweeps of beyond.yaml as a table: by what factor one engine is better than another.

    python -m benchmarks.beyond results/beyond_a10.json --than vllm-0.3

Reads a sweep's `sweep.json`. Factors above 1 are better for the engine; geometric means over the
seeds, which have the same plans for both engines, and in brackets the lowest and the highest. Users
within SLO are means, in percent, of the other and of the engine.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

from benchmarks.results import print_table

Row = dict[str, Any]
LOWER, HIGHER = -1, 1
METRICS = {  # the row's column, its heading, and which way is better
    "ttft_p50_s": ("TTFT P50", LOWER),
    "ttft_p99_s": ("P99", LOWER),
    "tbt_p999_s": ("TBT P99.9", LOWER),
    "output_tokens_per_s": ("tokens/s", HIGHER),
}
USERS = "users_within_slo_ratio"


def rows_of(sweep: Row, engine: str, rate: float) -> dict[int, Row]:
    """Returns the sweep's rows of one engine at one rate, by seed."""
    return {
        row["seed"]: row
        for row in sweep["rows"]
        if (row["engine"], row["arrivals.rate"]) == (engine, rate)
    }


def factors(mine: dict[int, Row], others: dict[int, Row], metric: str) -> list[float]:
    """One for each seed that both have; above 1 is better for `mine`."""
    _, better = METRICS[metric]
    return [
        (mine[seed][metric] / others[seed][metric]) ** better for seed in mine if seed in others
    ]


def line(sweep: Row, engine: str, than: str, rate: float) -> list[str]:
    mine, others = rows_of(sweep, engine, rate), rows_of(sweep, than, rate)
    cells = [f"{rate:g} {engine}"]
    for metric in METRICS:
        found = factors(mine, others, metric)
        cells.append(f"{geometric_mean(found):.2f} ({min(found):.2f}–{max(found):.2f})")
    seeds = mine.keys() & others.keys()
    users = [100 * fmean(rows[seed][USERS] for seed in seeds) for rows in (others, mine)]
    return [*cells, f"{users[0]:.0f} → {users[1]:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sweep", type=Path, help="sweep.json of a run of beyond.yaml")
    parser.add_argument("--than", default="fastswitch", help="the engine to compare with")
    args = parser.parse_args()
    sweep = json.loads(args.sweep.read_text())
    rates = sorted({row["arrivals.rate"] for row in sweep["rows"]})
    engines = [each for each in sweep["workload"]["engines"] if each != args.than]
    header = [f"than {args.than}", *(name for name, _ in METRICS.values()), "users in SLO"]
    lines = [line(sweep, engine, args.than, rate) for rate in rates for engine in engines]
    print_table(header, lines)


if __name__ == "__main__":
    main()
