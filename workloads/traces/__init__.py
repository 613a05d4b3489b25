"""Readers of public traces: each turns a file into conversation shapes and counts what it skips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from workloads.shapes import ConversationShape, Tally
from workloads.traces.azure import read_azure
from workloads.traces.bailian import read_bailian
from workloads.traces.burstgpt import read_burstgpt
from workloads.traces.messages import read_messages
from workloads.traces.mooncake import read_mooncake
from workloads.traces.sharegpt import read_sharegpt_turns
from workloads.traces.sharegpt_json import read_sharegpt_json
from workloads.traces.vllm_requests import read_vllm_requests

TraceReader = Callable[[Path, Tally], Iterable[ConversationShape]]
"""In order of their start, where the trace knows it. Raises TraceError."""

READERS: dict[str, TraceReader] = {
    "sharegpt": read_sharegpt_turns,
    "sharegpt-json": read_sharegpt_json,
    "messages": read_messages,
    "azure": read_azure,
    "mooncake": read_mooncake,
    "burstgpt": read_burstgpt,
    "bailian": read_bailian,
    "vllm-requests": read_vllm_requests,
}
