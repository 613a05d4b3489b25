import asyncio
from dataclasses import fields

from engines.core.stats import EngineStats
from engines.serving.metrics import ServerMetrics
from tests.engines.serving.served import samples, scripted, served


def test_every_number_of_the_engine_is_shown():
    values = {field.name: 100 + index for index, field in enumerate(fields(EngineStats))}
    stats = EngineStats(**values)
    text = ServerMetrics(lambda: stats, model_name="bytes").exposition().decode()
    shown = samples(text)
    assert set(values.values()) <= set(shown.values())
    assert shown[("vllm:num_requests_running",)] == stats.num_running
    assert shown[("vllm:num_requests_waiting",)] == stats.num_waiting
    assert shown[("vllm:num_preemptions_total",)] == stats.num_preemptions
    assert shown[("vllm:prompt_tokens_total",)] == stats.num_prompt_tokens
    assert shown[("fsbench:swap_out_blocks_total",)] == stats.num_swap_out_blocks
    assert shown[("fsbench:swap_in_blocks_total",)] == stats.num_swap_in_blocks
    assert shown[("fsbench:stall_seconds_total",)] == stats.stall_s
    assert shown[("vllm:kv_cache_usage_perc",)] == (
        stats.num_used_device_blocks / stats.num_device_blocks
    )


def test_an_engine_without_device_blocks_uses_none_of_them():
    text = ServerMetrics(EngineStats, model_name="bytes").exposition().decode()
    assert samples(text)[("vllm:kv_cache_usage_perc",)] == 0.0


def test_a_scrape_counts_what_was_served():
    async def main():
        async with served(scripted()) as server:
            for body in ({"prompt": "ab"}, {"prompt": "abcd", "stop": "c"}, {"prompt": "x" * 20}):
                await server.post("/v1/completions", body)
            await server.post("/v1/completions", {"prompt": ""})
            async with server.http.get(server.url("/metrics")) as response:
                return response.headers["Content-Type"], samples(await response.text())

    content_type, shown = asyncio.run(main())
    assert content_type.startswith("text/plain; version=")
    assert shown[("vllm:request_success_total", "stop")] == 2
    assert shown[("vllm:request_success_total", "length")] == 1
    assert shown[("vllm:time_to_first_token_seconds_count",)] == 3
    assert shown[("vllm:e2e_request_latency_seconds_count",)] == 3
    assert shown[("vllm:generation_tokens_total",)] >= 3 + 3 + 16


def test_two_apps_in_one_process_count_apart():
    async def main():
        async with served() as first, served() as second:
            await first.post("/v1/completions", {"prompt": "ab"})
            async with second.http.get(second.url("/metrics")) as response:
                return samples(await response.text())

    shown = asyncio.run(main())
    assert ("vllm:request_success_total", "stop") not in shown
    assert shown[("vllm:e2e_request_latency_seconds_count",)] == 0
