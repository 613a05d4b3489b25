"""A model by name: a preset with random weights, a Hugging Face folder, or a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from engines.embedded.devices.gguf_file import GgufFile
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.safetensors_folder import SafetensorsFolder, has_safetensors
from engines.embedded.devices.weights import RandomTensors, TensorSource, assemble
from engines.embedded.settings import DType
from engines.errors import EngineInputError
from engines.models.model_config import PRESETS, ModelConfig, config_from_folder
from engines.serving.tokenizer import Tokenizer
from engines.serving.tokenizer_sources import (
    synthetic_tokenizer,
    tokenizer_from_folder,
    tokenizer_from_gguf,
)

_DTYPES: dict[DType, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    config: ModelConfig
    decoder: Decoder
    tokenizer: Tokenizer


def load_model(
    name_or_path: str, *, dtype: DType, seed: int, torch_device: str = "cpu"
) -> LoadedModel:
    """Returns the model with its tokenizer. `seed` makes the weights of a preset; trained ones
    ignore it. Raises EngineInputError."""
    device = _usable_device(torch_device)
    config, source, tokenizer = _open(name_or_path, seed)
    if tokenizer.vocab_size > config.vocab_size:
        raise EngineInputError(
            f"{source.where}: the tokenizer has {tokenizer.vocab_size} ids, the model"
            f" {config.vocab_size}; they do not belong together"
        )
    weights = assemble(source, config, dtype=_DTYPES[dtype], device=device)
    return LoadedModel(config=config, decoder=Decoder(config, weights), tokenizer=tokenizer)


def _open(name_or_path: str, seed: int) -> tuple[ModelConfig, TensorSource, Tokenizer]:
    if name_or_path in PRESETS:
        config = PRESETS[name_or_path]
        return config, RandomTensors(config, seed), synthetic_tokenizer(config.vocab_size)
    path = Path(name_or_path).expanduser()
    if path.is_dir() and not has_safetensors(path):
        path = _only_gguf(path)
    if path.is_dir():
        config = config_from_folder(path)
        tokenizer = tokenizer_from_folder(path, config.eos_token_ids)
        return config, SafetensorsFolder(path), tokenizer
    if not path.is_file():
        raise EngineInputError(
            f"model {name_or_path!r} is neither a preset ({', '.join(PRESETS)}) nor a folder or"
            " .gguf file that exists; check the path"
        )
    file = GgufFile(path)
    return file.config(), file, tokenizer_from_gguf(file.metadata, where=file.where)


def _only_gguf(folder: Path) -> Path:
    files = sorted(folder.glob("*.gguf"))
    if len(files) == 1:
        return files[0]
    if files:
        names = ", ".join(file.name for file in files)
        raise EngineInputError(f"{folder}: holds several models ({names}); name the file")
    there = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    raise EngineInputError(
        f"{folder}: has no weights (model.safetensors, shards with an index, or a .gguf file),"
        f" got {there}; fetch the whole model"
    )


def _usable_device(name: str) -> torch.device:
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:  # torch built without CUDA asserts
        reason = str(error).splitlines()[0]
        raise EngineInputError(
            f"torch_device {name!r} cannot be used here ({reason}); use cpu"
        ) from None
    return device
