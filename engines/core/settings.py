"""The settings of every engine around this core: a mechanism is a field, a preset a combination.

`CoreEngineSettings` is what a workload file says (a preset plus overrides, mostly None), to which a
kind adds its own fields; `CoreSettings` is what the step loop gets. Resolving makes a new object,
nothing is filled in later.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Literal, Self

from pydantic import Field, model_validator

from engines.api import EngineSettings
from engines.context_limit import refuse_longer
from engines.core.policies.settings import PolicyChoice, PolicySettings, PrioritySettings
from engines.promise import Promise

Allocator = Literal["paged", "sorted", "block_group"]
Layout = Literal["per_layer", "cross_layer"]
Copy = Literal["per_block", "merged", "batched", "kernel"]
Swap = Literal["sync", "async", "adaptive"]
Preemption = Literal["swap", "recompute"]
Reuse = Literal["none", "host_swap", "host_copy", "prefix"]
GroupVictim = Literal["random", "least_progress"]
Admission = Literal["strict", "backfill"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mechanisms:
    """What makes one design differ from another."""

    allocator: Allocator
    layout: Layout
    copy: Copy
    swap: Swap
    preemption: Preemption
    reuse: Reuse
    policy: PolicySettings
    admission: Admission = "strict"
    watermark_ratio: float = 0.01  # of the device pool, kept free of newcomers so holders can grow


# The paper's likely baseline: [R] one copy per block, layer and K or V, waited for before the model
# runs; [D] history kept across turns by swapping the whole context.
VLLM_0_3 = Mechanisms(
    allocator="paged",
    layout="per_layer",
    copy="per_block",
    swap="sync",
    preemption="swap",
    reuse="host_swap",
    policy=PrioritySettings(),
)
# [R] FastSwitch: block groups, adaptive asynchronous swapping, host copies that stay valid.
FASTSWITCH = replace(
    VLLM_0_3, allocator="block_group", copy="merged", swap="adaptive", reuse="host_copy"
)
PRESETS: dict[str, Mechanisms] = {
    "vllm-0.3": VLLM_0_3,
    "vllm-0.3-recompute": replace(VLLM_0_3, reuse="none"),
    # Recompute and prefix caching, as vLLM V1 has them ([R]: nothing is swapped, newcomers are let
    # in while there is any room), under a policy that displaces, as vLLM V1 has none.
    "recompute-prefix": replace(
        VLLM_0_3, copy="merged", preemption="recompute", reuse="prefix", watermark_ratio=0.0
    ),
    # One step each from the baseline towards fastswitch.
    "vllm-0.3+groups": replace(VLLM_0_3, allocator="block_group", copy="merged"),
    "vllm-0.3+async": replace(VLLM_0_3, swap="adaptive"),
    "vllm-0.3+reuse": replace(VLLM_0_3, reuse="host_copy"),
    "fastswitch": FASTSWITCH,
    # Beyond the paper, each part found by measurement (benchmarks/README.md, "fastswitch-x"): whole
    # blocks in one piece, so that a link with dear calls costs no more than one with cheap ones; no
    # room left empty in front of a request that is too large for it. The second is a rule of
    # admission, not of memory: its remark says so.
    "fastswitch-x": replace(FASTSWITCH, layout="cross_layer", admission="backfill"),
}
# Old name → the preset it stands for: workload files and recorded runs may still say the old one.
RENAMED_PRESETS = {"vllm-v1": "recompute-prefix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSettings:
    """Everything the step loop needs to know; sizes in tokens unless the name says otherwise."""

    mechanisms: Mechanisms
    block_size: int
    kv_tokens: int
    swap_tokens: int
    max_batch_tokens: int
    max_num_seqs: int
    group_tokens: int = 1000
    group_victim: GroupVictim = "random"

    @property
    def num_device_blocks(self) -> int:
        return self.kv_tokens // self.block_size

    @property
    def num_host_blocks(self) -> int:
        return self.swap_tokens // self.block_size


class CoreEngineSettings(EngineSettings):
    """What every engine around this core takes, whatever device it steps."""

    preset: str = Field("fastswitch", description="a named combination of the mechanisms below")
    allocator: Allocator | None = Field(None, description="how device and host blocks are found")
    layout: Layout | None = Field(None, description="how a block lies in memory")
    copy_mode: Copy | None = Field(None, alias="copy", description="what one copy call moves")
    swap: Swap | None = Field(None, description="whether the model waits for transfers")
    preemption: Preemption | None = Field(None, description="where a preempted request's KV goes")
    reuse: Reuse | None = Field(None, description="what a conversation's next turn finds")
    policy: PolicyChoice | None = Field(None, description="who holds the device")
    admission: Admission | None = Field(None, description="whether who fits may pass who does not")
    watermark_ratio: float | None = Field(
        None, ge=0, lt=1, description="share of the device pool kept free of newcomers"
    )

    block_size: int = Field(16, ge=1, description="tokens a block")
    kv_tokens: int = Field(ge=2, description="device pool: how many tokens' KV fit")
    swap_tokens: int = Field(0, ge=0, description="host pool: how many tokens' KV fit")
    max_batch_tokens: int = Field(512, ge=1, description="tokens computed in one step at most")
    max_num_seqs: int = Field(64, ge=1, description="requests in one step at most")
    max_waiting: int = Field(
        4096, ge=0, description="requests a server takes beyond max_num_seqs; more get a 503"
    )
    group_tokens: int = Field(1000, ge=1, description="size of a new block group; block_group only")
    group_victim: GroupVictim = Field(
        "random", description="whose unused tail is split when no group fits; block_group only"
    )
    num_copy_threads: int | None = Field(
        None, ge=0, le=64, description="that move KV beside the model; default 0 for sync, else 2"
    )
    max_context_tokens: int | None = Field(
        None, ge=2, description="longest prompt plus answer; default: what model and pool allow"
    )
    slo_by_class: dict[str, Promise] = Field(
        default_factory=dict,
        description="what a server promises to each class of users whose requests do not say: "
        "{interactive: {ttft_ms: 1000, tbt_ms: 200, max_gap_ms: 2000}}; `default`: all others",
    )

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        for name in ("kv_tokens", "swap_tokens"):
            value = getattr(self, name)
            if value % self.block_size:
                raise ValueError(
                    f"{name} must be a multiple of block_size {self.block_size}, got {value}; "
                    f"take {max(1, value // self.block_size) * self.block_size}"
                )
        if self.max_num_seqs > self.max_batch_tokens:
            raise ValueError(
                f"max_batch_tokens must be >= max_num_seqs {self.max_num_seqs} (each running "
                f"request decodes one token a step), got {self.max_batch_tokens}"
            )
        if self.max_context_tokens is not None and self.max_context_tokens > self.kv_tokens:
            raise ValueError(
                f"max_context_tokens must be <= kv_tokens {self.kv_tokens} (one request has to "
                f"fit the device pool alone), got {self.max_context_tokens}"
            )
        self._check_swap_space()
        swap = self.mechanisms().swap
        if swap != "sync" and self.num_copy_threads == 0:
            raise ValueError(
                f"num_copy_threads must be > 0 with swap: {swap} (without threads the model waits "
                "for every transfer), got 0; leave it out, or set swap: sync"
            )
        return self

    def _check_swap_space(self) -> None:
        mechanisms = self.mechanisms()
        for what, is_used in (
            ("preemption: swap", mechanisms.preemption == "swap"),
            (f"reuse: {mechanisms.reuse}", mechanisms.reuse in ("host_swap", "host_copy")),
        ):
            if is_used and self.swap_tokens == 0:
                raise ValueError(
                    f"swap_tokens must be > 0 with {what}, got 0; "
                    "give a host pool (10 x kv_tokens is usual), or set preemption: recompute "
                    "and reuse: none"
                )

    def mechanisms(self) -> Mechanisms:
        """Returns the preset with this file's overrides. Raises ValueError: no such preset."""
        preset = RENAMED_PRESETS.get(self.preset, self.preset)
        if preset not in PRESETS:
            raise ValueError(
                f"preset {self.preset!r} is unknown; choose one of: {', '.join(PRESETS)}"
            )
        own = {
            field.name: getattr(self, "copy_mode" if field.name == "copy" else field.name)
            for field in fields(Mechanisms)
        }
        chosen = {name: value for name, value in own.items() if value is not None}
        return replace(PRESETS[preset], **chosen)

    def named_mechanisms(self) -> dict[str, object]:
        """Returns every mechanism by its field here, as a resolved copy names them."""
        mechanisms = self.mechanisms()
        named = {
            "copy_mode" if field.name == "copy" else field.name: getattr(mechanisms, field.name)
            for field in fields(Mechanisms)
        }
        num_threads = self.num_copy_threads
        if num_threads is None:
            num_threads = 0 if mechanisms.swap == "sync" else 2
        return {**named, "num_copy_threads": num_threads}

    def remarks(self) -> list[str]:
        found = []
        if (name := RENAMED_PRESETS.get(self.preset)) is not None:
            found.append(
                f"preset {self.preset} is called {name} now: it is this engine with those "
                "mechanisms, under a policy that displaces, not vLLM"
            )
        if self.mechanisms().policy.name == "srpt":
            found.append(
                "policy srpt: an oracle, it takes each request's max_tokens for the length of its "
                "answer; no real engine can know that"
            )
        if self.mechanisms().admission == "backfill":
            found.append(
                "admission backfill: requests come in past one that does not fit, so this engine "
                "differs from a strict one in whom it lets in, not in its handling of memory alone"
            )
        return found

    @property
    def max_live(self) -> int:
        """Returns how many requests a server holds at a time, whether they run or wait."""
        return self.max_num_seqs + self.max_waiting

    def check_longest(self, num_tokens: int) -> None:
        refuse_longer(
            num_tokens,
            {"max_context_tokens": self.max_context_tokens, "kv_tokens": self.kv_tokens},
        )

    def core(self) -> CoreSettings:
        return CoreSettings(
            mechanisms=self.mechanisms(),
            block_size=self.block_size,
            kv_tokens=self.kv_tokens,
            swap_tokens=self.swap_tokens,
            max_batch_tokens=self.max_batch_tokens,
            max_num_seqs=self.max_num_seqs,
            group_tokens=self.group_tokens,
            group_victim=self.group_victim,
        )
