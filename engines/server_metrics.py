"""What a server says of itself on its Prometheus page, read each second and kept as a log.

Counters are kept as the server gives them: totals since its start. What it does not give is null.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from engines.arrow_log import ArrowLog, schema_of

INTERVAL_S = 1.0
NUM_TRIES = 3  # for the first look and the last, between which everything is counted


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMetrics:
    """One look. The names are those of the embedded engine's statistics and step log."""

    at: float  # CLOCK_MONOTONIC
    num_running: int | None
    num_waiting: int | None
    kv_usage_ratio: float | None  # used share of the device pool
    num_steps: int | None
    num_preemptions: int | None
    num_prompt_tokens: int | None
    num_generated_tokens: int | None
    num_queried_tokens: int | None  # looked for in the prefix cache
    num_reused_tokens: int | None  # of those, found
    num_recomputed_tokens: int | None
    num_priority_updates: int | None


# Field → samples on the page, vLLM's and then the embedded server's own; the first that is there.
# Labels are added up: a server may have several engines.
_SAMPLES: Mapping[str, tuple[str, ...]] = {
    "num_running": ("vllm:num_requests_running",),
    "num_waiting": ("vllm:num_requests_waiting",),
    "kv_usage_ratio": ("vllm:kv_cache_usage_perc",),
    "num_steps": ("vllm:iteration_tokens_total_count", "fsbench:steps_total"),
    "num_preemptions": ("vllm:num_preemptions_total",),
    "num_prompt_tokens": ("vllm:prompt_tokens_total",),
    "num_generated_tokens": ("vllm:generation_tokens_total",),
    "num_queried_tokens": ("vllm:prefix_cache_queries_total",),
    "num_reused_tokens": ("vllm:prefix_cache_hits_total", "fsbench:reused_tokens_total"),
    "num_recomputed_tokens": (),
    "num_priority_updates": (),
}


def parse_metrics(page: str, *, at: float, more: Mapping[str, int]) -> ServerMetrics:
    """Returns what a page says; `more` are fields known from elsewhere. Raises ValueError for what
    is no Prometheus page."""
    wanted = {name for names in _SAMPLES.values() for name in names}
    values: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name in wanted:
                values.setdefault(sample.name, []).append(sample.value)

    def read(field: str) -> float | None:
        if field in more:
            return more[field]
        given = next((values[name] for name in _SAMPLES[field] if name in values), None)
        if given is None:
            return None
        return sum(given) / len(given) if field == "kv_usage_ratio" else int(sum(given))

    return ServerMetrics(at=at, **{field: read(field) for field in _SAMPLES})  # type: ignore[arg-type]


@contextmanager
def logged_server_metrics(
    directory: Path,
    read_page: Callable[[], str],
    *,
    more: Callable[[], Mapping[str, int]] = dict,
    interval_s: float = INTERVAL_S,
) -> Iterator[None]:
    """Writes a row before, one each interval, one after. A page that can not be had (OSError,
    ValueError), before and after not even at the third try, leaves no row."""
    is_over = threading.Event()
    with ArrowLog(
        directory / "server_metrics.arrows", schema_of(ServerMetrics), rows_per_batch=1
    ) as log:

        def look(num_tries: int = 1) -> None:
            for _ in range(num_tries):
                try:
                    page, at = read_page(), time.monotonic()
                    row = parse_metrics(page, at=at, more=more())
                except (OSError, ValueError):
                    continue
                log.append(asdict(row))
                return

        def look_regularly() -> None:
            while not is_over.wait(interval_s):
                look()

        look(NUM_TRIES)
        thread = threading.Thread(target=look_regularly, name="server metrics", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()
            look(NUM_TRIES)
