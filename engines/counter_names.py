"""How servers call their counters on their Prometheus pages: ours → theirs, server by server.

Of several samples the values are added up, over labels too: a server may have several engines.
Names stand without the `_total` that some pages write behind a counter's and others do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

Names = Mapping[str, tuple[str, ...]]

# A field that a server does not count is left out, and null in the log.
COUNTER_NAMES: Mapping[str, Names] = {
    "vLLM": {
        "num_running": ("vllm:num_requests_running",),
        "num_waiting": ("vllm:num_requests_waiting",),
        "kv_usage_ratio": ("vllm:kv_cache_usage_perc",),
        "num_steps": ("vllm:iteration_tokens_total_count",),
        "num_preemptions": ("vllm:num_preemptions",),
        "num_prompt_tokens": ("vllm:prompt_tokens",),
        "num_generated_tokens": ("vllm:generation_tokens",),
        "num_queried_tokens": ("vllm:prefix_cache_queries",),
        "num_reused_tokens": ("vllm:prefix_cache_hits",),
    },
    "fsbench": {  # beside vLLM's
        "num_steps": ("fsbench:steps",),
        "num_reused_tokens": ("fsbench:reused_tokens",),
    },
    "llama.cpp": {  # its prompt tokens are those that it computed
        "num_running": ("llamacpp:requests_processing",),
        "num_waiting": ("llamacpp:requests_deferred",),
        "kv_usage_ratio": ("llamacpp:kv_cache_usage_ratio",),  # until the middle of 2025
        "num_steps": ("llamacpp:n_decode",),
        "num_prompt_tokens": ("llamacpp:prompt_tokens",),
        "num_generated_tokens": ("llamacpp:tokens_predicted",),
        "num_queried_tokens": (
            "llamacpp:prompt_tokens",
            "llamacpp:prompt_tokens_cached",
        ),
        "num_reused_tokens": ("llamacpp:prompt_tokens_cached",),
    },
    "SGLang": {
        "num_running": ("sglang:num_running_reqs",),
        "num_waiting": ("sglang:num_queue_reqs",),
        "kv_usage_ratio": ("sglang:token_usage",),
        "num_prompt_tokens": ("sglang:prompt_tokens",),
        "num_generated_tokens": ("sglang:generation_tokens",),
        "num_queried_tokens": ("sglang:prompt_tokens",),
        "num_reused_tokens": ("sglang:cached_tokens",),
    },
    "TGI": {
        "num_running": ("tgi_batch_current_size",),
        "num_waiting": ("tgi_queue_size",),
        "num_steps": ("tgi_batch_inference_count",),
        "num_prompt_tokens": ("tgi_request_input_length_sum",),
        "num_generated_tokens": ("tgi_request_generated_tokens_sum",),
    },
    "LiteLLM": {  # cached: as the servers behind it say
        "num_running": ("litellm_in_flight_requests",),
        "num_prompt_tokens": ("litellm_input_tokens_metric",),
        "num_generated_tokens": ("litellm_output_tokens_metric",),
        "num_queried_tokens": ("litellm_input_tokens_metric",),
        "num_reused_tokens": ("litellm_input_cached_tokens_metric",),
    },
}


def samples_of(field: str, present: Set[str]) -> tuple[str, ...]:
    """Returns the samples that make up a field of ours, of the first server that has all of them on
    its page; none where nobody has."""
    for names in COUNTER_NAMES.values():
        wanted = names.get(field, ())
        if wanted and present >= set(wanted):
            return wanted
    return ()


def recognised(present: Set[str]) -> dict[str, list[str]]:
    """Returns whose names are on a page, each with the fields that they give."""
    found = {
        server: [field for field, wanted in names.items() if present >= set(wanted)]
        for server, names in COUNTER_NAMES.items()
    }
    return {server: fields for server, fields in found.items() if fields}
