from __future__ import annotations

from typing import Any

from benchmarks.beyond import METRICS, factors, line, rows_of


def row(engine: str, seed: int, rate: float, value: float, users: float) -> dict[str, Any]:
    return {
        "engine": engine,
        "seed": seed,
        "arrivals.rate": rate,
        "users_within_slo_ratio": users,
        **dict.fromkeys(METRICS, value),
    }


SWEEP = {
    "rows": [
        row("old", 7, 0.1, 4.0, 0.5),
        row("new", 7, 0.1, 1.0, 0.9),
        row("old", 8, 0.1, 1.0, 0.7),
        row("new", 8, 0.1, 1.0, 0.7),
        row("new", 9, 0.1, 5.0, 0.1),  # whose other half is still to come
        row("old", 7, 0.2, 9.0, 0.0),
    ]
}


def test_factors_above_one_are_better_whichever_way_a_metric_goes() -> None:
    new, old = rows_of(SWEEP, "new", 0.1), rows_of(SWEEP, "old", 0.1)
    assert factors(new, old, "ttft_p99_s") == [4.0, 1.0]
    assert factors(new, old, "output_tokens_per_s") == [0.25, 1.0]


def test_a_line_gives_the_geometric_mean_and_the_range_over_the_seeds_both_have() -> None:
    cells = line(SWEEP, "new", "old", 0.1)
    assert cells[:2] == ["0.1 new", "2.00 (1.00–4.00)"]
    assert cells[-1] == "60 → 80", "users of the same plans only"
