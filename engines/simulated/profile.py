"""What a cost model knows of a GPU with a model: constants, each with where it comes from."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.api import EngineInputError
from engines.fastswitch.devices.model_config import ModelConfig
from engines.simulated.model_shapes import model_shape

Origin = Literal["fitted", "measured", "datasheet", "analogy"]
ORIGINS: dict[Origin, str] = {  # worst last
    "fitted": "fitted to measured kernel times",
    "measured": "as published by who measured them",
    "datasheet": "from datasheets",
    "analogy": "by analogy with other GPUs",
}
BYTES_PER_VALUE = 2  # weights and KV in bfloat16


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Constant(_Frozen):
    """`fitted`: to measured kernel times or step logs; `measured`: a published measurement of
    this; `datasheet`; `analogy`: carried over from a neighbour."""

    value: float = Field(ge=0)
    origin: Origin
    source: str = Field(min_length=1)


class StepConstants(_Frozen):
    """Of one GPU with its share of the model. See `cost_model` for what each does."""

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
    """Of one GPU's link to its host; `swap_in` is host → device, `swap_out` device → host."""

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
        """Of the whole model."""
        return model_shape(self.model)

    @property
    def caveat(self) -> str:
        """One sentence on how far its numbers can be trusted; stands in every report."""
        overheads = {"step_overhead_s", "sequence_overhead_s"}
        kernels = set(StepConstants.model_fields) - overheads
        if self.tensor_parallel == 1:
            kernels -= {"all_reduce_s", "all_reduce_bytes_per_s"}
        gpus = f"{self.tensor_parallel} × {self.gpu}" if self.tensor_parallel > 1 else self.gpu
        return (
            f"Modelled, not measured: {gpus} with {self.model}; kernel times "
            f"{_worst(self.step, kernels)}, engine overhead {_worst(self.step, overheads)}, "
            f"link {_worst(self.link, LinkConstants.model_fields)}."
        )


def shipped_profiles() -> list[str]:
    folder = files("engines.simulated") / "profiles"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_profile(name_or_path: str) -> Profile:
    """A shipped profile by its name, or a .yaml file by its path. Raises EngineInputError."""
    if name_or_path in shipped_profiles():
        text = (files("engines.simulated") / "profiles" / f"{name_or_path}.yaml").read_text("utf-8")
        return _parsed(text, name_or_path)
    if not name_or_path.endswith((".yaml", ".yml")):
        raise EngineInputError(
            f"profile {name_or_path!r} is unknown; give the path of a .yaml file, or one of: "
            f"{', '.join(shipped_profiles())}"
        )
    try:
        text = Path(name_or_path).read_text("utf-8")
    except OSError as error:
        raise EngineInputError(
            f"profile {name_or_path}: cannot be read ({error.strerror}); shipped ones are: "
            f"{', '.join(shipped_profiles())}"
        ) from None
    return _parsed(text, name_or_path)


def profile_yaml(profile: Profile) -> str:
    """As `load_profile` reads it."""
    return yaml.safe_dump(
        profile.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True, width=100
    )


def _parsed(text: str, where: str) -> Profile:
    try:
        raw: Any = yaml.safe_load(text)
        profile = Profile.model_validate(raw)
        model_shape(profile.model)
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise EngineInputError(f"profile {where}: is not YAML ({first})") from None
    except ValidationError as error:
        raise EngineInputError(f"profile {where}: {_first_fault(error)}") from None
    except EngineInputError as error:
        raise EngineInputError(f"profile {where}: {error}") from None
    return profile


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or "the file"
    return f"{key}: {fault['msg'].lower()}, got {fault['input']!r:.80}"


def _worst(constants: BaseModel, names: Iterable[str]) -> str:
    order = list(ORIGINS)
    origins: list[Origin] = [getattr(constants, name).origin for name in names]
    return ORIGINS[max(origins, key=order.index)]
