"""Profiles by name or from a file: all constants, or a datasheet that they are derived from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engines.errors import EngineInputError
from engines.simulated.constants import Profile
from engines.simulated.model_shapes import model_shape
from engines.simulated.roofline import Datasheet, roofline_profile

__all__ = ["Profile", "load_profile", "profile_yaml", "shipped_profiles"]


class _FromDatasheet(BaseModel):
    """A file that gives only what a GPU's maker promises, and a model."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    model: str
    tensor_parallel: int = Field(1, ge=1)
    datasheet: Datasheet


def shipped_profiles() -> list[str]:
    folder = files("engines.simulated") / "profiles"
    return sorted(
        entry.name.removesuffix(".yaml")
        for entry in folder.iterdir()
        if entry.name.endswith(".yaml")
    )


def load_profile(name_or_path: str) -> Profile:
    """Returns a shipped profile by its name, or one from a .yaml file by its path. Raises
    EngineInputError."""
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
    """Returns the profile as `load_profile` reads it."""
    return yaml.safe_dump(
        profile.model_dump(exclude_none=True), sort_keys=False, allow_unicode=True, width=100
    )


def _parsed(text: str, where: str) -> Profile:
    try:
        raw: Any = yaml.safe_load(text)
        profile = _built(raw)
        model_shape(profile.model)
    except yaml.YAMLError as error:
        first = str(error).splitlines()[0]
        raise EngineInputError(f"profile {where}: is not YAML ({first})") from None
    except ValidationError as error:
        raise EngineInputError(f"profile {where}: {_first_fault(error)}") from None
    except EngineInputError as error:
        raise EngineInputError(f"profile {where}: {error}") from None
    return profile


def _built(raw: Any) -> Profile:
    if not isinstance(raw, dict) or "datasheet" not in raw:
        return Profile.model_validate(raw)
    given = _FromDatasheet.model_validate(raw)
    return roofline_profile(
        given.datasheet,
        name=given.name,
        model=given.model,
        tensor_parallel=given.tensor_parallel,
    )


def _first_fault(error: ValidationError) -> str:
    fault = error.errors()[0]
    key = ".".join(str(part) for part in fault["loc"]) or "the file"
    return f"{key}: {fault['msg'].lower()}, got {fault['input']!r:.80}"
