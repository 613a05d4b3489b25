"""A profile: what a cost model knows of a GPU with a model, each constant with its origin."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from engines.models.model_config import ModelConfig
from engines.simulated.model_shapes import model_shape

Origin = Literal["fitted", "measured", "datasheet", "analogy"]
ORIGINS: dict[Origin, str] = {  # best first
    "fitted": "fitted to measured tables",
    "measured": "as published by who measured them",
    "datasheet": "from datasheets",
    "analogy": "by analogy with other GPUs",
}
BYTES_PER_VALUE = 2  # weights and KV in bfloat16


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Constant(_Frozen):
    """A number and where it comes from. `fitted`: to measured kernel times or step logs;
    `measured`: a published measurement of this; `datasheet`; `analogy`: carried over from a
    neighbour."""

    value: float = Field(ge=0)
    origin: Origin
    source: str = Field(min_length=1)


class StepConstants(_Frozen):
    """The constants of a step on one GPU with its share of the model. See `cost_model` for what
    each does."""

    gemm_bytes_per_s: Constant  # at which weights stream
    gemm_token_s: Constant  # and each token, while they do
    gemm_flops_per_s: Constant
    elementwise_s: Constant  # a layer's norms, rotary embedding and activation: launches …
    elementwise_bytes_per_s: Constant  # … and bytes, softly the larger
    attention_s: Constant  # a layer's attention: its launch …
    attention_sequence_s: Constant  # … each sequence …
    attention_bytes_per_s: Constant  # … the KV that decodes read …
    mixed_attention_sequence_s: Constant  # … the two in a step that prefills as well …
    mixed_attention_bytes_per_s: Constant
    attention_flops_per_s: Constant  # … the products of prefill chunks …
    attention_token_s: Constant  # … at least this for each token a chunk attends to
    sampler_s: Constant
    sampler_sequence_s: Constant
    step_overhead_s: Constant  # of the engine around a step: c0 …
    sequence_overhead_s: Constant  # … and c1 for each sequence
    all_reduce_s: Constant  # latency of one of two a layer; tensor parallel only
    all_reduce_bytes_per_s: Constant


class LinkConstants(_Frozen):
    """The constants of one GPU's link to its host.

    `swap_in` is host → device, `swap_out` device → host.
    """

    swap_in_bytes_per_s: Constant
    swap_out_bytes_per_s: Constant
    shared_swap_in_bytes_per_s: Constant  # while the other direction is busy too
    shared_swap_out_bytes_per_s: Constant
    copy_s: Constant  # t0: what a copy call adds
    descriptor_s: Constant  # the same for a piece of a batched call
    small_piece_bytes: Constant  # a batched call with smaller pieces runs at …
    small_piece_bytes_per_s: Constant  # … this


class Profile(_Frozen):
    name: str
    gpu: str
    model: str  # of MODEL_SHAPES, or a folder with a config.json
    tensor_parallel: int = Field(1, ge=1)
    kv_tokens: Constant | None = None  # a usual size of the KV pool on this machine
    step: StepConstants
    link: LinkConstants

    @property
    def shape(self) -> ModelConfig:
        """Returns the shape of the whole model."""
        return model_shape(self.model)

    @property
    def caveat(self) -> str:
        """Returns one sentence on how far its numbers can be trusted; it stands in every report."""
        overheads = {"step_overhead_s", "sequence_overhead_s"}
        kernels = set(StepConstants.model_fields) - overheads
        if self.tensor_parallel == 1:
            kernels -= {"all_reduce_s", "all_reduce_bytes_per_s"}
        gpus = f"{self.tensor_parallel} × {self.gpu}" if self.tensor_parallel > 1 else self.gpu
        return (
            f"Modelled, not measured: {gpus} with {self.model}; kernel times "
            f"{_origins(self.step, kernels)}, engine overhead {_origins(self.step, overheads)}, "
            f"link {_origins(self.link, LinkConstants.model_fields)}."
        )


def _origins(constants: BaseModel, names: Iterable[str]) -> str:
    used = {getattr(constants, name).origin for name in names}
    return " and ".join(words for origin, words in ORIGINS.items() if origin in used)
