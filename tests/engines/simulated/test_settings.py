"""What `kind: simulated` takes, and what it says of itself."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from engines.errors import EngineInputError
from engines.simulated.profile import load_profile
from engines.simulated.settings import SimulatedSettings

FIELDS = {"profile": "a10-llama3-8b", "kv_tokens": 1024, "swap_tokens": 4096}


def test_a_profile_is_for_its_own_model_only() -> None:
    settings = SimulatedSettings(**FIELDS)
    assert settings.resolve("llama-3-8b") == settings.resolve(None)
    with pytest.raises(EngineInputError, match="a profile for another model: it is of llama-3-8b"):
        settings.resolve("tiny-llama")


def test_an_unknown_profile_is_told_when_the_file_is_read() -> None:
    with pytest.raises(EngineInputError, match="'a11' is unknown"):
        SimulatedSettings(**{**FIELDS, "profile": "a11"}).resolve(None)


def test_what_is_resolved_names_every_mechanism() -> None:
    resolved = SimulatedSettings(preset="vllm-0.3", **FIELDS).resolve(None)
    assert (resolved.swap, resolved.copy_mode, resolved.num_copy_threads) == (
        "sync",
        "per_block",
        0,
    )


def test_what_no_profile_has_measured_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"copy: kernel is not modelled .* take merged"):
        SimulatedSettings(copy="kernel", **FIELDS)


def test_a_turn_longer_than_the_models_positions_is_refused() -> None:
    settings = SimulatedSettings(profile="a10-llama3-8b", kv_tokens=2**20, swap_tokens=4096)
    positions = load_profile("a10-llama3-8b").shape.max_positions
    settings.check_longest(positions)
    with pytest.raises(EngineInputError, match=f"has {positions} positions"):
        settings.check_longest(positions + 1)


@pytest.mark.parametrize("time", ["virtual", "wall"])
def test_every_report_says_what_was_modelled(time: str) -> None:
    (remark,) = SimulatedSettings(time=time, **FIELDS).remarks()
    assert remark.startswith({"virtual": "simulated, virtual time", "wall": "emulated"}[time])
    assert remark.endswith(load_profile("a10-llama3-8b").caveat)


def test_bounds_belong_to_virtual_time() -> None:
    with pytest.raises(ValidationError, match="max_wall_time_s bounds time: virtual only"):
        SimulatedSettings(time="wall", max_wall_time_s=1.0, **FIELDS)
