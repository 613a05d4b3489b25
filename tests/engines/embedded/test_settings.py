from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from engines.embedded.settings import FastSwitchSettings
from engines.errors import EngineInputError
from engines.simulated.pace import Pace


def settings(**fields: Any) -> FastSwitchSettings:
    return FastSwitchSettings(**{"kv_tokens": 1024, "swap_tokens": 4096, **fields})


@pytest.mark.parametrize("pace", ["a10-llama3-8b", {"profile": "a10-llama3-8b"}])
def test_a_pace_is_a_profile_s_name_or_more_and_resolves_to_the_same(pace: object) -> None:
    resolved = settings(pace=pace).resolve("nano-llama")
    assert resolved.pace == Pace(profile="a10-llama3-8b", speed=1.0)
    again = FastSwitchSettings.model_validate(resolved.model_dump(by_alias=True))
    assert again == resolved
    assert resolved.remarks() == settings(pace=pace).remarks() == [resolved.pace.remark()]


def test_an_engine_without_a_pace_has_nothing_to_remark() -> None:
    assert (settings().named_pace, settings().remarks()) == (None, [])


def test_a_paced_engine_s_times_are_modelled_and_no_profile_can_be_fitted_to_its_log() -> None:
    paced, free = settings(pace="a10-llama3-8b").facts(), settings().facts()
    assert (paced.is_modelled, paced.logs_real_steps, paced.is_virtual) == (True, False, False)
    assert (free.is_modelled, free.logs_real_steps) == (False, True)


def test_a_pace_of_an_unknown_gpu_is_refused_when_the_file_is_read() -> None:
    with pytest.raises(EngineInputError, match="profile 'a11' is unknown"):
        settings(pace="a11").resolve("nano-llama")


@pytest.mark.parametrize(
    ("pace", "message"),
    [
        ({"speed": 2}, "profile"),
        ({"profile": "a10-llama3-8b", "speed": 0}, "greater than 0"),
        ({"profile": "a10-llama3-8b", "factor": 2}, "not permitted"),
    ],
)
def test_a_pace_that_can_not_be_kept_is_refused(pace: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(pace=pace)
