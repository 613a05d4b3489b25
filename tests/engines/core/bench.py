"""An engine on a memory device, checked after every step; all combinations of its mechanisms."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from engines.api import PriorityUpdates
from engines.core.device import Direction
from engines.core.engine import Engine
from engines.core.policies.settings import POLICIES
from engines.core.request import FinishReason, Request
from engines.core.request_log import RequestRecord, State
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, CoreSettings, Mechanisms
from engines.core.step_log import StepRecord
from engines.core.transfer_log import TransferRecord
from engines.terms import Slo, Terms
from tests.engines.core.async_memory_device import AsyncMemoryDevice

BLOCK = 4


VLLM = PRESETS["vllm-0.3"]


BACKFILL = replace(VLLM, admission="backfill")


PREFIX = replace(VLLM, reuse="prefix", preemption="recompute")


FIELDS = ("allocator", "swap", "preemption", "reuse", "copy")


ARMS = {
    "-".join(names): replace(
        VLLM, policy=POLICIES[names[0]](), **dict(zip(FIELDS, names[1:], strict=True))
    )
    for names in itertools.product(
        ("fcfs", "priority"),
        ("paged", "sorted", "block_group"),
        ("sync", "async", "adaptive"),
        ("swap", "recompute"),
        ("none", "host_swap", "host_copy", "prefix"),
        ("per_block", "merged"),
    )
}


# Policies that go by users and SLOs, over four designs that differ in what a pause costs. Times and
# quanta are a tenth of a second's and a few tokens' size, as everything here is.
NEWER_POLICIES = {
    "vtc": POLICIES["vtc"](quantum=8.0, renew_every=2),
    "dlpm": POLICIES["dlpm"](quantum=32.0, renew_every=2),
    "edf": POLICIES["edf"](renew_every=2),
    "mlfq": POLICIES["mlfq"](promote_after_s=0.3, renew_every=2),
    "qoe": POLICIES["qoe"](horizon_s=0.2, renew_every=2),
    "srpt": POLICIES["srpt"](renew_every=2),
    "slo": POLICIES["slo"](max_wait_s=0.3, quantum=4, margin_s=0.02, renew_every=2),
}


ARMS |= {
    "-".join((policy, *rest)): replace(ARMS["-".join(("fcfs", *rest))], policy=settings)
    for policy, settings in NEWER_POLICIES.items()
    for rest in (
        ("block_group", "adaptive", "swap", "host_copy", "merged"),
        ("paged", "sync", "swap", "host_swap", "per_block"),
        ("paged", "async", "swap", "none", "merged"),
        ("paged", "sync", "recompute", "prefix", "merged"),
    )
}


ARMS |= {
    f"{name}-backfill": replace(arm, admission="backfill")
    for name, arm in ARMS.items()
    if (arm.allocator, arm.copy) == ("block_group", "merged")
}


def core_settings(mechanisms: Mechanisms, **changes: int) -> CoreSettings:
    core = CoreSettings(
        mechanisms=mechanisms,
        block_size=BLOCK,
        kv_tokens=64,
        swap_tokens=256,
        max_batch_tokens=24,
        max_num_seqs=8,
    )
    return replace(core, **changes)


class Bench:
    """An engine on a memory device, with what it emitted and logged."""

    def __init__(self, core: CoreSettings, priorities: PriorityUpdates | None = None) -> None:
        # Blocks that stay of use after they were copied from are not poisoned.
        poisons = {
            "host_copy": {Direction.SWAP_OUT},
            "prefix": {Direction.SWAP_IN},
        }.get(core.mechanisms.reuse, set(Direction))
        self.device = AsyncMemoryDevice(
            block_size=core.block_size,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            poisons=poisons,
        )
        self.rows: list[StepRecord] = []
        self.requests: dict[str, RequestRecord] = {}
        self.transfers: list[TransferRecord] = []
        self.engine = Engine(
            core,
            self.device,
            clock=self.device.clock,
            priorities=priorities,
            on_step=self.rows.append,
            on_request=self._ended,
            on_transfer=self.transfers.append,
        )
        self.tokens: dict[str, list[int]] = {}
        self.finished: dict[str, FinishReason] = {}
        self.cached: dict[str, int] = {}

    def submit(self, name: str, prompt: list[int], num_tokens: int, **fields: object) -> Request:
        request = Request(
            request_id=name,
            prompt_token_ids=prompt,
            sampling=SamplingParams(max_tokens=num_tokens, ignore_eos=True),
            arrived_at=self.device.now,
            **fields,  # type: ignore[arg-type]
        )
        self.engine.submit(request)
        return request

    def step(self) -> None:
        for output in self.engine.step():
            self.tokens.setdefault(output.request_id, []).extend(output.token_ids)
            self.cached[output.request_id] = output.num_cached_tokens
            if output.finish_reason is not None:
                self.finished[output.request_id] = output.finish_reason
        self.engine.check_integrity()

    def _ended(self, record: RequestRecord) -> None:
        assert record.request_id not in self.requests, "told twice"
        check_latency(record)
        self.requests[record.request_id] = record

    def run(self, max_steps: int = 2000) -> None:
        for _ in range(max_steps):
            if not self.engine.has_work:
                return
            self.step()
        pytest.fail(f"still live after {max_steps} steps: {self.engine.stats}")


def check_latency(record: RequestRecord) -> None:
    """Its spans cover its life without a gap, change at every border, and add up to its shares."""
    spans = record.spans
    if spans:
        assert (spans[0].began_at, spans[-1].ended_at) == (record.arrived_at, record.finished_at)
    for before, after in itertools.pairwise(spans):
        assert before.ended_at == after.began_at
        assert before.state is not after.state, "one span in two pieces"
    shares = {f"{state}_s": getattr(record, f"{state}_s") for state in State}
    assert sum(shares.values()) == pytest.approx(record.finished_at - record.arrived_at)
    for state in State:
        spent = [span.ended_at - span.began_at for span in spans if span.state is state]
        assert shares[f"{state}_s"] == pytest.approx(sum(spent))
        assert all(each > 0 for each in spent)


def terms_of(who: int) -> Terms:
    """Returns what one of three users was promised: little, much, or nothing."""
    slos = (
        Slo(ttft_s=0.03, tbt_s=0.02, tbt_percentile=0.8, max_gap_s=0.08),
        Slo(ttft_s=0.3, tbt_s=0.05),
        None,
    )
    return Terms(user_id=f"u{who % 3}", user_class=f"class{who % 2}", slo=slos[who % 3])


def prompt_of(seed: int, num_tokens: int) -> list[int]:
    return [(seed * 977 + i * 31) % 5000 for i in range(num_tokens)]
