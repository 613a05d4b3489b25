"""A profile from a datasheet alone: what a GPU promises, times what others keep of it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from engines.simulated.constants import Constant, LinkConstants, Origin, Profile, StepConstants

# What an RTX 4090 and an RTX PRO 6000 keep of their datasheets, by fits to their kernel times.
MEMORY_RATIO = 0.9
FLOPS_RATIO = 0.8
MIXED_RATIO = 0.5  # of the memory's rate, decodes beside prefill chunks
ATTENTION_FLOPS_RATIO = 0.55
LINK_RATIO = 0.8
SHARED_IN_RATIO, SHARED_OUT_RATIO = 0.44, 0.96  # of the rate alone, as measured on an A100


class Datasheet(BaseModel):
    """What a GPU's maker says of it; rates per second of one GPU."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    gpu: str = Field(min_length=1)
    memory_bytes_per_s: float = Field(gt=0)
    flops_per_s: float = Field(gt=0)  # dense, bfloat16
    link_bytes_per_s: float = Field(gt=0)  # to the host, one direction


def roofline_profile(
    datasheet: Datasheet, *, name: str, model: str, tensor_parallel: int = 1
) -> Profile:
    """Returns a profile by analogy for any model that has a shape; see `model_shapes`."""
    memory, flops = datasheet.memory_bytes_per_s, datasheet.flops_per_s
    from_memory = f"{memory:.4g} bytes/s of memory"
    from_flops = f"{flops:.4g} FLOP/s"
    from_link = f"{datasheet.link_bytes_per_s:.4g} bytes/s of the link"
    others = "RTX 4090 and RTX PRO 6000 kernel times"
    link = datasheet.link_bytes_per_s * LINK_RATIO
    return Profile(
        name=name,
        gpu=datasheet.gpu,
        model=model,
        tensor_parallel=tensor_parallel,
        step=StepConstants(
            gemm_bytes_per_s=_part(memory, MEMORY_RATIO, from_memory),
            gemm_token_s=_like(0.7e-6 * 1e12 / memory, others),
            gemm_flops_per_s=_part(flops, FLOPS_RATIO, from_flops),
            elementwise_s=_like(1.1e-5, others),
            elementwise_bytes_per_s=_part(memory, MEMORY_RATIO, from_memory),
            attention_s=_like(1.2e-5, others),
            attention_sequence_s=_like(1.5e-7, others),
            attention_bytes_per_s=_part(memory, MEMORY_RATIO, from_memory),
            mixed_attention_sequence_s=_like(1e-6, others),
            mixed_attention_bytes_per_s=_part(memory, MEMORY_RATIO * MIXED_RATIO, from_memory),
            attention_flops_per_s=_part(flops, ATTENTION_FLOPS_RATIO, from_flops),
            attention_token_s=_like(2e-8, others),
            sampler_s=_like(2.5e-5, others),
            sampler_sequence_s=_like(4e-7, others),
            step_overhead_s=_like(0.0, "vLLM with asynchronous scheduling on an RTX PRO 6000"),
            sequence_overhead_s=_like(0.0, "vLLM with asynchronous scheduling on an RTX PRO 6000"),
            all_reduce_s=_like(2e-5, "NCCL over PCIe: some 20 µs"),
            all_reduce_bytes_per_s=_part(datasheet.link_bytes_per_s, 0.25, from_link),
        ),
        link=LinkConstants(
            swap_in_bytes_per_s=_part(link, 1.0, from_link),
            swap_out_bytes_per_s=_part(link, 1.0, from_link),
            shared_swap_in_bytes_per_s=_part(link, SHARED_IN_RATIO, from_link),
            shared_swap_out_bytes_per_s=_part(link, SHARED_OUT_RATIO, from_link),
            copy_s=_like(5e-6, "A100: 5 to 7 µs a copy"),
            descriptor_s=_like(0.5e-6, "cuMemcpyBatchAsync, vLLM #48434"),
            small_piece_bytes=_like(28 * 1024, "cuMemcpyBatchAsync on an H100, vLLM #42212"),
            small_piece_bytes_per_s=_like(6.7e9, "cuMemcpyBatchAsync on an H100, vLLM #42212"),
        ),
    )


def _part(promised: float, ratio: float, what: str) -> Constant:
    origin: Origin = "datasheet"
    return Constant(
        value=float(f"{promised * ratio:.4g}"), origin=origin, source=f"{ratio:.2g} of {what}"
    )


def _like(value: float, whose: str) -> Constant:
    return Constant(value=float(f"{value:.4g}"), origin="analogy", source=whose)
