"""What a scrape of `/metrics` shows: the engine's counters, and what only the server knows.

vLLM's names where they mean the same thing, so that its dashboards work; `fsbench:` for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from engines.core.stats import EngineStats
from engines.serving.generation import Generation

# EngineStats field → metric name, what it says
_GAUGES = {
    "num_running": ("vllm:num_requests_running", "Requests that hold device blocks."),
    "num_waiting": ("vllm:num_requests_waiting", "Requests that hold no blocks yet."),
    "num_swapped": ("vllm:num_requests_swapped", "Requests whose KV is in host blocks."),
    "num_arriving": ("fsbench:num_requests_arriving", "Requests whose KV is being swapped in."),
    "num_device_blocks": ("fsbench:device_blocks", "Size of the device pool."),
    "num_used_device_blocks": ("fsbench:used_device_blocks", "Device blocks in use."),
    "num_host_blocks": ("fsbench:host_blocks", "Size of the host pool."),
    "num_used_host_blocks": ("fsbench:used_host_blocks", "Host blocks in use."),
}
_COUNTERS = {
    "num_preemptions": ("vllm:num_preemptions", "Running requests that lost their blocks."),
    "num_prompt_tokens": ("vllm:prompt_tokens", "Prompt tokens of the requests taken up."),
    "num_generated_tokens": ("vllm:generation_tokens", "Tokens generated."),
    "num_recompute_preemptions": (
        "fsbench:recompute_preemptions",
        "Preemptions that dropped the KV instead of swapping it out.",
    ),
    "num_swap_out_blocks": ("fsbench:swap_out_blocks", "Blocks copied from device to host."),
    "num_swap_in_blocks": ("fsbench:swap_in_blocks", "Blocks copied from host to device."),
    "num_copy_runs": ("fsbench:copy_runs", "Runs of neighbouring blocks copied as one."),
    "num_copies": ("fsbench:copies", "Copy calls issued to the device."),
    "num_copied_bytes": ("fsbench:copied_bytes", "Bytes copied between device and host."),
    "stall_s": ("fsbench:stall_seconds", "Time the model waited for transfers."),
    "num_reused_tokens": ("fsbench:reused_tokens", "Prompt tokens whose KV was found, not made."),
    "num_steps": ("fsbench:steps", "Iterations of the engine."),
    "num_finished": ("fsbench:finished_requests", "Requests that ran to their end."),
    "num_aborted": ("fsbench:aborted_requests", "Requests ended from outside before."),
}
_LATENCY_BUCKETS = tuple(
    mantissa * 10.0**exponent for exponent in range(-3, 3) for mantissa in (1, 2, 5)
)
_LABELS = ("model_name",)


class EngineCollector(Collector):
    """Reads one snapshot a scrape."""

    def __init__(self, stats: Callable[[], EngineStats], *, model_name: str) -> None:
        self._stats = stats
        self._labels = (model_name,)

    def describe(self) -> Sequence[Metric]:
        return ()  # registering must not ask an engine that has not started

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        for field, (name, text) in _GAUGES.items():
            gauge = GaugeMetricFamily(name, text, labels=_LABELS)
            gauge.add_metric(self._labels, getattr(stats, field))
            yield gauge
        usage = GaugeMetricFamily(
            "vllm:kv_cache_usage_perc", "Used share of the device pool, 0 to 1.", labels=_LABELS
        )
        usage.add_metric(
            self._labels, stats.num_used_device_blocks / max(1, stats.num_device_blocks)
        )
        yield usage
        for field, (name, text) in _COUNTERS.items():
            counter = CounterMetricFamily(name, text, labels=_LABELS)
            counter.add_metric(self._labels, getattr(stats, field))
            yield counter


class ServerMetrics:
    """The server's own counts, and the registry that joins them to the engine's."""

    def __init__(self, stats: Callable[[], EngineStats], *, model_name: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(EngineCollector(stats, model_name=model_name))
        self._model_name = model_name
        self._success = Counter(
            "vllm:request_success",
            "Requests answered in full.",
            ("model_name", "finished_reason"),
            registry=self._registry,
        )
        self._ttft = self._histogram(
            "vllm:time_to_first_token_seconds", "From the request's arrival to its first token."
        )
        self._e2e = self._histogram(
            "vllm:e2e_request_latency_seconds", "From the request's arrival to its last token."
        )

    def _histogram(self, name: str, text: str) -> Histogram:
        family = Histogram(name, text, _LABELS, buckets=_LATENCY_BUCKETS, registry=self._registry)
        return family.labels(self._model_name)

    def record_finished(self, generation: Generation, now: float) -> None:
        reason, first_token_at = generation.finish_reason, generation.first_token_at
        assert reason is not None and first_token_at is not None, generation.request.request_id
        arrived_at = generation.request.arrived_at
        self._ttft.observe(first_token_at - arrived_at)
        self._e2e.observe(now - arrived_at)
        self._success.labels(self._model_name, reason).inc()

    def exposition(self) -> bytes:
        return generate_latest(self._registry)
