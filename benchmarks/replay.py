"""A measured run's requests, asked again of the engine core in virtual time over a profile."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from engines.fastswitch.engine import Engine
from engines.fastswitch.request import Request, SamplingParams
from engines.fastswitch.settings import PRESETS, CoreSettings
from engines.fastswitch.step_log import StepRecord
from engines.simulated.device import ModelledDevice, VirtualClock
from engines.simulated.profile import Profile
from workloads.build import build_plan
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

SLO = {"ttft": "1s", "tbt": "1s", "attainment": 1.0}  # a workload has one; nobody is judged here


@dataclass(slots=True, kw_only=True)
class Replayed:
    """Seconds since the first request was queued."""

    queued_at: float
    num_output_tokens: int
    first_token_at: float = 0.0
    last_token_at: float = 0.0


def plan_of(requests: Path) -> Plan:
    """A plan of the requests of a measured run: their queueing instants and lengths."""
    spec = WorkloadSpec.model_validate(
        {
            "name": "replay",
            "seed": 1,
            "model": "measured",
            "conversations": {"trace": "vllm-requests", "path": str(requests.resolve())},
            "arrivals": {"process": "trace"},
            "users": {"all": {"share": 1.0, "slo": SLO}},
            "engines": {"replay": {"kind": "simulated"}},
        }
    )
    return build_plan(spec, requests.parent)


def core_of(*, kv_tokens: int, max_batch_tokens: int, max_num_seqs: int) -> CoreSettings:
    """vLLM V1's policies: first come first served, recompute, prefixes found by their tokens."""
    return CoreSettings(
        mechanisms=replace(PRESETS["vllm-v1"], policy="fcfs"),
        block_size=16,
        kv_tokens=kv_tokens,
        swap_tokens=0,
        max_batch_tokens=max_batch_tokens,
        max_num_seqs=max_num_seqs,
    )


def replay(
    plan: Plan, core: CoreSettings, profile: Profile
) -> tuple[list[Replayed], list[StepRecord]]:
    """All requests from the first to the last token; each step."""
    clock = VirtualClock()
    steps: list[StepRecord] = []
    device = ModelledDevice(
        profile,
        clock,
        block_size=core.block_size,
        num_device_blocks=core.num_device_blocks,
        num_host_blocks=core.num_host_blocks,
        layout=core.mechanisms.layout,
        copy=core.mechanisms.copy,
    )
    engine = Engine(core, device, clock=clock.now, on_step=steps.append)
    due = deque(plan.conversations)
    replayed: dict[str, Replayed] = {}
    while due or engine.has_work:
        if not engine.has_work:
            clock.advance_to(due[0].start_at_s)
        while due and due[0].start_at_s <= clock.now():
            conversation = due.popleft()
            (turn,) = conversation.turns
            replayed[conversation.conversation_id] = Replayed(
                queued_at=conversation.start_at_s, num_output_tokens=turn.num_output_tokens
            )
            engine.submit(
                Request(
                    request_id=conversation.conversation_id,
                    prompt_token_ids=turn.new_prompt_token_ids.tolist(),
                    sampling=SamplingParams(max_tokens=turn.num_output_tokens, ignore_eos=True),
                    arrived_at=conversation.start_at_s,
                )
            )
        for output in engine.step():
            one = replayed[output.request_id]
            one.first_token_at = one.first_token_at or clock.now()
            one.last_token_at = clock.now()
    return list(replayed.values()), steps
