"""What can be seen to be missing of a model before anything is started. No torch, no weights."""

from __future__ import annotations

from pathlib import Path

from engines.errors import EngineInputError
from engines.models.model_config import PRESETS, config_from_folder


def check_model(name_or_path: str) -> None:
    """Raises EngineInputError unless the name is a preset, or the path a folder or file with all
    that the embedded engine needs; no weights are read."""
    if name_or_path in PRESETS:
        return
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return
    if not path.is_dir():
        raise EngineInputError(
            f"model {name_or_path!r} is neither a preset ({', '.join(PRESETS)}) nor a folder or "
            ".gguf file that exists; check the path"
        )
    if any(path.glob("*.gguf")):
        return
    config_from_folder(path)
    if not any(path.glob("model*.safetensors*")):
        raise EngineInputError(
            f"model {name_or_path!r} has a config.json but neither model.safetensors, shards of it "
            "nor a .gguf file; copy the weights there too"
        )
