"""Weights of a Hugging Face folder: one model.safetensors, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from engines.embedded.devices.weights import Shape
from engines.errors import EngineInputError

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"


class SafetensorsFolder:
    """Implements `TensorSource`; files are mapped, so a tensor is read when it is asked for."""

    def __init__(self, folder: Path) -> None:
        self.where = str(folder)
        files = [_open(path) for path in _weight_files(folder)]
        self._file_of = {name: file for file in files for name in file.keys()}  # noqa: SIM118

    def shapes(self) -> Mapping[str, Shape]:
        return {
            name: tuple(file.get_slice(name).get_shape()) for name, file in self._file_of.items()
        }

    def load(self, name: str) -> Tensor:
        tensor: Tensor = self._file_of[name].get_tensor(name)
        return tensor


def has_safetensors(folder: Path) -> bool:
    return (folder / SINGLE_FILE).is_file() or (folder / INDEX_FILE).is_file()


def _weight_files(folder: Path) -> list[Path]:
    if (folder / SINGLE_FILE).is_file():
        return [folder / SINGLE_FILE]
    index = folder / INDEX_FILE
    try:
        names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise EngineInputError(
            f"{index}: must hold a JSON object with `weight_map` ({error!r}); fetch it again"
        ) from None
    if absent := [name for name in names if not (folder / name).is_file()]:
        raise EngineInputError(
            f"{folder}: {len(absent)} of {len(names)} shards named in {INDEX_FILE} are missing,"
            f" first {absent[0]}; fetch the whole model"
        )
    return [folder / name for name in names]


def _open(path: Path) -> Any:  # safe_open has no types
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise EngineInputError(
            f"{path}: is not a readable safetensors file ({error}); fetch it again"
        ) from None
