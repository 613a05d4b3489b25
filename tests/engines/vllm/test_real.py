"""A real vLLM (`make vllm`): the same tokens as the embedded engine, under the same policies.

A server for each kind of the scheduler plug-in, with a KV pool that holds a few requests only.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
import torch

from engines.api import PriorityUpdates, RunningEngine
from engines.arrow_log import read_arrow_logs
from engines.embedded.devices.loading import load_model
from engines.errors import EngineInputError
from engines.vllm.command import find_executable
from engines.vllm.plugin.fsbench_vllm.counters import read_counters
from engines.vllm.settings import VllmSettings
from tests.engines.embedded.devices.decoding import Sequence, device_for, generate
from tests.engines.vllm.conftest import is_running

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

NUM_PROMPTS = 8
PROMPT_TOKENS, OUTPUT_TOKENS = 96, 48  # ends in five blocks of 32; the pool has sixteen


SMALL: dict[str, Any] = {
    "prefix_caching": False,
    "kv_tokens": 512,
    "max_num_seqs": 16,
    "max_batch_tokens": 512,
    "args": {"enforce-eager": True},
}


@dataclass(frozen=True, slots=True)
class Served:
    engine: RunningEngine
    directory: Path

    def complete(self, prompt: list[int], **fields: Any) -> list[int]:
        endpoint = self.engine.endpoint
        body = {
            **{"model": endpoint.model, "prompt": prompt, "max_tokens": OUTPUT_TOKENS},
            **{"temperature": 0, "ignore_eos": True, "return_token_ids": True, **fields},
        }
        connection = http.client.HTTPConnection(urlsplit(endpoint.base_url).netloc, timeout=300)
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        reply = json.loads(connection.getresponse().read())
        connection.close()
        token_ids: list[int] = reply["choices"][0]["token_ids"]
        return token_ids


def prompts() -> list[list[int]]:
    drawn = np.random.default_rng(11).integers(256, 8000, (NUM_PROMPTS, PROMPT_TOKENS))
    return [[int(token) for token in row] for row in drawn]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    try:
        find_executable(None)
    except EngineInputError as none:
        pytest.skip(str(none))
    directory = tmp_path_factory.mktemp("real")
    settings = VllmSettings(scheduling="trace", **SMALL)
    generator = np.random.default_rng(3)
    trace = PriorityUpdates(
        update_frequency=0.1,
        conversation_ids=[f"c{number}" for number in range(NUM_PROMPTS)],
        levels=generator.integers(0, 8, (64, NUM_PROMPTS)).astype(np.uint8),
    )
    others = _children()  # of tests before this one
    resolved = settings.resolve("tiny-llama")
    with resolved.running(name="real", directory=directory, priorities=trace) as engine:
        pids = _children() - others
        assert len(pids) >= 3  # keeper, server, engine core
        yield Served(engine, directory)
    assert [pid for pid in pids if is_running(pid)] == []


def _children() -> set[int]:
    return {each.pid for each in psutil.Process().children(recursive=True)}


@pytest.fixture(scope="module")
def expected() -> list[list[int]]:
    """The embedded engine's tokens, each prompt alone on the device."""
    torch.manual_seed(0)
    decoder = load_model("tiny-llama", dtype="float32", seed=0).decoder
    outputs = []
    for prompt in prompts():
        sequence = Sequence(token_ids=prompt, block_table=[*range(16)])
        outputs.append(generate(device_for(decoder, block_size=16), sequence, OUTPUT_TOKENS))
    return outputs


def test_it_says_what_it_is(served: Served) -> None:
    assert served.engine.version is not None
    assert served.engine.version.startswith("vLLM 0.")
    assert "plug-in" in served.engine.version


def test_greedy_tokens_in_float32_are_the_embedded_engines(
    served: Served, expected: list[list[int]]
) -> None:
    assert [served.complete(prompt) for prompt in prompts()] == expected


def test_under_a_trace_with_too_little_kv_the_plug_in_preempts_and_no_token_changes(
    served: Served, expected: list[list[int]]
) -> None:
    def ask(number: int) -> list[int]:
        return served.complete(prompts()[number], vllm_xargs={"conversation_id": f"c{number}"})

    with ThreadPoolExecutor(NUM_PROMPTS) as pool:
        assert list(pool.map(ask, range(NUM_PROMPTS))) == expected
    counted = read_counters(served.directory / "scheduler_counters.npy")
    assert counted["num_priority_updates"] > 5
    assert counted["num_displacements"] > 0
    assert counted["num_recomputed_tokens"] > 0


def test_its_counters_are_logged_under_our_names(served: Served) -> None:
    rows = read_arrow_logs([served.directory / "server_metrics.arrows"]).to_pylist()
    assert rows[-1]["num_preemptions"] > 0
    assert rows[-1]["num_steps"] > rows[0]["num_steps"] > 0
    assert None not in rows[-1].values()


@pytest.fixture(scope="module")
def under_slo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    try:
        find_executable(None)
    except EngineInputError as none:
        pytest.skip(str(none))
    directory = tmp_path_factory.mktemp("policy")
    settings = VllmSettings.model_validate({"policy": "slo", **SMALL}).resolve("tiny-llama")
    with settings.running(name="policy", directory=directory, priorities=None) as engine:
        yield Served(engine, directory)


def test_under_a_policy_of_the_embedded_engine_no_token_changes(
    under_slo: Served, expected: list[list[int]]
) -> None:
    """Every other one was promised its first token at once, and the pool holds three of them."""

    def ask(number: int) -> list[int]:
        slo = {"ttft_ms": 200.0 if number % 2 else 60_000.0, "tbt_ms": 2_000.0}
        who = {"conversation_id": f"c{number}", "user": f"u{number}", "user_class": "all"}
        return under_slo.complete(prompts()[number], vllm_xargs={**who, **slo})

    with ThreadPoolExecutor(NUM_PROMPTS) as pool:
        assert list(pool.map(ask, range(NUM_PROMPTS))) == expected
    assert under_slo.engine.version is not None
    assert "policy slo" in under_slo.engine.version
    counted = read_counters(under_slo.directory / "scheduler_counters.npy")
    assert counted["num_priority_updates"] > 5
