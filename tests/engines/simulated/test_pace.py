"""A profile sped up costs a fraction of the time in everything, and of nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.device import Batch, BlockRun, Direction, SequenceChunk
from engines.core.sampling_params import SamplingParams
from engines.errors import EngineInputError
from engines.simulated.cost_model import CostModel
from engines.simulated.device import ModelledDevice, VirtualClock
from engines.simulated.pace import Pace, sped_up
from engines.simulated.profile import load_profile, shipped_profiles
from engines.simulated.settings import SimulatedSettings

SPEEDS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 8.0])


def batch_of(num_decodes: int, num_prefill: int) -> Batch:
    sampling = SamplingParams(max_tokens=1)
    decodes = [SequenceChunk(f"d{i}", [1], 700, [], sampling, 1) for i in range(num_decodes)]
    prefill = SequenceChunk("p", [1] * num_prefill, 300, [], None, 0)
    return Batch(chunks=[*decodes, prefill])


@given(st.sampled_from(shipped_profiles()), SPEEDS, st.integers(0, 40), st.integers(2, 600))
def test_every_step_is_so_many_times_as_fast(
    name: str, speed: float, num_decodes: int, num_prefill: int
) -> None:
    profile, batch = load_profile(name), batch_of(num_decodes, num_prefill)
    as_it_is = CostModel(profile).execute_s(batch)
    assert CostModel(sped_up(profile, speed)).execute_s(batch) == pytest.approx(as_it_is / speed)


@given(
    st.sampled_from(shipped_profiles()),
    SPEEDS,
    st.sampled_from(["per_block", "merged", "batched"]),
    st.lists(st.integers(1, 40), min_size=1, max_size=5),
)
def test_every_copy_is_so_many_times_as_fast_and_as_large_as_before(
    name: str, speed: float, copy: str, sizes: list[int]
) -> None:
    profile = load_profile(name)
    taken = []
    for each in (profile, sped_up(profile, speed)):
        clock = VirtualClock()
        device = ModelledDevice(
            each,
            clock,
            block_size=16,
            num_device_blocks=9000,
            num_host_blocks=9000,
            layout="per_layer",
            copy=copy,  # type: ignore[arg-type]
        )
        both_ways = [
            device.transfer(direction, [BlockRun(99 * i, 99 * i, n) for i, n in enumerate(sizes)])
            for direction in Direction
        ]
        for transfer in both_ways:
            transfer.wait()
        taken.append((clock.now(), [transfer.stats for transfer in both_ways]))
    (as_it_is_s, stats), (faster_s, same_stats) = taken
    assert faster_s == pytest.approx(as_it_is_s / speed)
    assert same_stats == stats


def test_what_is_no_time_stays_as_it_is() -> None:
    profile = load_profile("a10-llama3-8b")
    faster = sped_up(profile, 4.0)
    assert sped_up(profile, 1.0) is profile
    assert faster.link.small_piece_bytes == profile.link.small_piece_bytes
    assert faster.kv_tokens == profile.kv_tokens
    assert faster.link.copy_s.value == profile.link.copy_s.value / 4
    assert faster.link.copy_s.source == profile.link.copy_s.source


def test_the_remark_says_what_is_real_and_what_is_modelled() -> None:
    said = Pace(profile="a10-llama3-8b").remark()
    start = "paced: tokens are real, durations are a modelled NVIDIA A10's with llama-3-8b. "
    assert said.startswith(f"{start}Modelled, not measured: ")
    assert (
        "llama-3-8b, all its times divided by 4. "
        in Pace(profile="a10-llama3-8b", speed=4).remark()
    )
    assert "all its times multiplied by 2. " in Pace(profile="a10-llama3-8b", speed=0.5).remark()


def test_the_simulated_engine_takes_the_same_speed_and_says_so() -> None:
    settings = SimulatedSettings(profile="a10-llama3-8b", speed=2, kv_tokens=1024, swap_tokens=1024)
    assert settings.loaded_profile() == Pace(profile="a10-llama3-8b", speed=2).loaded_profile()
    assert "all its times divided by 2. Modelled" in settings.remarks()[0]


def test_an_unknown_profile_is_refused_in_one_line() -> None:
    with pytest.raises(EngineInputError, match="profile 'b200' is unknown; give the path"):
        Pace(profile="b200").loaded_profile()
