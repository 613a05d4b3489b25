"""A preset as a folder on disk, for engines that know only folders; torch stays in a child."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from engines.errors import EngineError, EngineInputError
from engines.extras import install_command
from engines.models.model_config import PRESETS


def write_model_folder(folder: Path, *, preset: str, seed: int) -> None:
    """Raises EngineInputError (unknown preset, no torch) or EngineError."""
    if preset not in PRESETS:
        raise EngineInputError(f"preset {preset!r} is unknown; choose one of: {', '.join(PRESETS)}")
    if find_spec("torch") is None:
        raise EngineInputError(
            f"writing the model {preset!r} needs torch, which is not installed; "
            f"{install_command('engine')}, or name a model folder"
        )
    module = "engines.embedded.devices.write_model"
    command = [sys.executable, "-m", module, str(folder), "--preset", preset, "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise EngineError(f"{folder}: the model could not be written ({said[-1]})")
