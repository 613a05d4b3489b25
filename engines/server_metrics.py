"""What a server says of itself on its Prometheus page, read each second and kept as a log.

Counters are kept as the server gives them: totals since its start. What it does not give is null.
"""

from __future__ import annotations

import threading
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from math import isfinite
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from engines.arrow_log import ArrowLog, schema_of
from engines.counter_names import COUNTER_NAMES, recognised, samples_of

INTERVAL_S = 1.0
NUM_NAMES = 4  # of those on a page that nobody knows, shown
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


def parse_metrics(page: str, *, at: float, more: Mapping[str, int]) -> ServerMetrics:
    """Returns what a page says; `more` are fields known from elsewhere. Raises ValueError for what
    is no Prometheus page."""
    return _read(samples_on(page), at=at, more=more)


def samples_on(page: str) -> dict[str, list[float]]:
    """Returns the values of each sample, over its labels, by its name without `_total`. Raises
    ValueError."""
    values: dict[str, list[float]] = {}
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            values.setdefault(sample.name.removesuffix("_total"), []).append(sample.value)
    return values


def _read(
    values: Mapping[str, Sequence[float]], *, at: float, more: Mapping[str, int]
) -> ServerMetrics:
    def read(field: str) -> float | None:
        if field in more:
            return more[field]
        given = [value for name in samples_of(field, values.keys()) for value in values[name]]
        if not given or not all(isfinite(value) for value in given):
            return None
        return sum(given) / len(given) if field == "kv_usage_ratio" else int(sum(given))

    counted = [each.name for each in fields(ServerMetrics) if each.name != "at"]
    return ServerMetrics(at=at, **{name: read(name) for name in counted})  # type: ignore[arg-type]


class CounterWatch:
    """Looks at a page again and again; `remark` says in the end what was wrong with it."""

    def __init__(
        self, read_page: Callable[[], str], more: Callable[[], Mapping[str, int]], where: str
    ) -> None:
        self._read_page = read_page
        self._more = more
        self._where = where
        self._num_looks = 0
        self._num_failed = 0
        self._failure = ""
        self._unknown: list[str] | None = None  # names on a page of which none is known

    def look(self, num_tries: int = 1) -> ServerMetrics | None:
        """Returns None where the page can not be had, not even at the last try."""
        self._num_looks += 1
        for _ in range(num_tries):
            try:
                page, at = self._read_page(), time.monotonic()
                values = samples_on(page)
            except (OSError, ValueError) as error:
                self._failure = _why(error)
                continue
            self._unknown = None if recognised(values.keys()) else sorted(values)
            return _read(values, at=at, more=self._more())
        self._num_failed += 1
        return None

    def remark(self) -> str | None:
        """Returns one line where counters are missing; None where all is well."""
        if self._num_failed == self._num_looks:
            return (
                f"{self._where} gave no counters ({self._failure}), so none is told here; mend "
                "metrics_url, or leave it out"
            )
        if self._unknown is not None:
            shown = ", ".join(self._unknown[:NUM_NAMES]) or "the page is empty"
            return (
                f"{self._where} has none of the names that fsbench knows "
                f"({', '.join(COUNTER_NAMES)}), so no counter is told here; on it: {shown}"
                + (", …" if len(self._unknown) > NUM_NAMES else "")
            )
        if self._num_failed:
            return (
                f"{self._where} gave no counters {self._num_failed} of {self._num_looks} times "
                f"({self._failure})"
            )
        return None


def _why(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"{error.code} {error.reason}"
    if isinstance(error, OSError):
        reason = getattr(error, "reason", error)
        return str(getattr(reason, "strerror", None) or reason)
    return f"it is no Prometheus page: {' '.join(str(error).split())[:80]}"


@contextmanager
def logged_server_metrics(
    directory: Path,
    read_page: Callable[[], str],
    *,
    more: Callable[[], Mapping[str, int]] = dict,
    interval_s: float = INTERVAL_S,
    where: str = "the server's counter page",
) -> Iterator[CounterWatch]:
    """Writes a row before, one each interval, one after. A page that can not be had (OSError,
    ValueError), before and after not even at the third try, leaves no row. `where` names it."""
    is_over = threading.Event()
    watch = CounterWatch(read_page, more, where)
    with ArrowLog(
        directory / "server_metrics.arrows", schema_of(ServerMetrics), rows_per_batch=1
    ) as log:

        def look(num_tries: int = 1) -> None:
            row = watch.look(num_tries)
            if row is not None:
                log.append(asdict(row))

        def look_regularly() -> None:
            while not is_over.wait(interval_s):
                look()

        look(NUM_TRIES)
        thread = threading.Thread(target=look_regularly, name="server metrics", daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            is_over.set()
            thread.join()
            look(NUM_TRIES)
