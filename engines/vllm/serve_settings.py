"""What one `vllm serve` is told, in the embedded engine's words where they mean the same."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from engines.api import EngineSettings
from engines.core.policies.settings import PolicyChoice
from engines.separation import PrefixCache

Scheduling = Literal["fcfs", "priority", "trace"]

# What a key of `args` would set a second time.
_OWN_FLAGS = {
    "host": "fsbench itself (loopback)",
    "port": "fsbench itself (a free one)",
    "model": "model",
    "served-model-name": "model",
    "dtype": "dtype",
    "block-size": "block_size",
    "num-gpu-blocks-override": "kv_tokens",
    "max-model-len": "max_context_tokens",
    "max-num-batched-tokens": "max_batch_tokens",
    "max-num-seqs": "max_num_seqs",
    "scheduling-policy": "scheduling",
    "scheduler-cls": "scheduling or policy",
    "enable-prefix-caching": "prefix_caching",
    "kv-offloading-size": "kv_offload_gib",
}


class ServeSettings(EngineSettings):
    """The part of the settings that becomes flags and environment of the server."""

    scheduling: Scheduling = Field(
        "fcfs", description="fcfs and priority are vLLM's own; trace is fsbench's plug-in"
    )
    policy: PolicyChoice | None = Field(
        None,
        description="one of the embedded engine's policies, in fsbench's plug-in, over vLLM's own "
        "mechanisms; default: as scheduling says",
    )
    prefix_caching: bool = Field(True, description="as vLLM does by default")
    prefix_cache: PrefixCache = Field(
        "isolate", description="what a trial may find of another: isolate, shared, {reset: …}"
    )
    kv_offload_gib: float | None = Field(
        None, gt=0, description="vLLM's native KV offloading to host memory; not on CPU builds"
    )
    kv_tokens: int = Field(ge=2, description="device pool: how many tokens' KV fit")
    block_size: int = Field(32, ge=1, description="tokens a block; CPU builds need 32 or more")
    max_batch_tokens: int | None = Field(None, ge=1, description="default: vLLM's")
    max_num_seqs: int | None = Field(None, ge=1, description="default: vLLM's")
    max_context_tokens: int | None = Field(
        None, ge=2, description="longest prompt plus answer; default: what model and pool allow"
    )

    model: str | None = Field(None, description="overrides the workload's model")
    dtype: Literal["float32", "bfloat16", "float16", "auto"] = "float32"
    args: dict[str, Any] = Field(
        default_factory=dict, description="further flags, e.g. {enforce-eager: true}"
    )
    env: dict[str, str] = Field(default_factory=dict, description="environment variables for it")

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        if self.kv_tokens % self.block_size:
            raise ValueError(
                f"kv_tokens must be a multiple of block_size {self.block_size}, got "
                f"{self.kv_tokens}; take {self.kv_tokens // self.block_size * self.block_size}"
            )
        if self.max_context_tokens is not None and self.max_context_tokens > self.kv_tokens:
            raise ValueError(
                f"max_context_tokens must be <= kv_tokens {self.kv_tokens} (one request has to "
                f"fit the device pool alone), got {self.max_context_tokens}"
            )
        if self.policy is not None and self.scheduling != "fcfs":
            raise ValueError(
                f"scheduling must be left out with policy, which the plug-in schedules by, got "
                f"{self.scheduling!r}"
            )
        for flag in self.args:
            name = flag.lstrip("-").replace("_", "-")
            if (setting := _OWN_FLAGS.get(name.removeprefix("no-"))) is not None:
                raise ValueError(f"args: {flag} is set by {setting}; set that instead")
        return self

    @property
    def has_plugin(self) -> bool:
        """Whether fsbench's scheduler plug-in schedules, and not vLLM's own."""
        return self.scheduling == "trace" or self.policy is not None

    @property
    def variant(self) -> str:
        """Returns the words of a report for the vLLM that is served."""
        scheduler = {
            "fcfs": "stock scheduler, fcfs",
            "priority": "stock scheduler, priority",
            "trace": "fsbench's scheduler plug-in, priority trace, preemption by recompute",
        }[self.scheduling]
        if self.policy is not None:
            scheduler = (
                f"fsbench's scheduler plug-in, policy {self.policy.name}, preemption by recompute"
            )
        offload = f", KV offloading {self.kv_offload_gib:g} GiB" if self.kv_offload_gib else ""
        given = "".join(f", {flag}: {value}" for flag, value in self.args.items())
        caching = "on" if self.prefix_caching else "off"
        return f"{scheduler}, prefix caching {caching}{offload}, {self.dtype}{given}"
