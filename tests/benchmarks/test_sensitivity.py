"""The sensitivity of the paper's ratios: what is varied, and how a swing is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sensitivity import (
    ASSUMPTIONS,
    HEADLINES,
    base_of,
    largest,
    play,
    source_of,
    swings,
    variants,
)
from engines.simulated.profile import load_profile
from suite.playing.workload import resolve_workload


def test_each_variant_changes_its_own_setting_alone(tmp_path: Path) -> None:
    base = base_of(4, 0.1)
    default = resolve_workload(base)
    for variant in variants()[1:]:
        other = resolve_workload(source_of(base, variant, 7, tmp_path))
        before, after = default.as_json(), other.as_json()
        changed = {key for key in before if before[key] != after[key]}
        expected = {key.partition(".")[0] for key in variant.settings}
        expected = {{"copy_s": "engines", "load": "arrivals"}.get(key, key) for key in expected}
        assert changed == expected, variant


def test_another_t0_is_a_profile_with_that_one_constant(tmp_path: Path) -> None:
    variant = next(each for each in variants() if "copy_s" in each.settings)
    source = source_of(base_of(4, 0.1), variant, 7, tmp_path)
    (path,) = {engine["profile"] for engine in source.raw["engines"].values()}
    profile, shipped = load_profile(path), load_profile("a10-llama3-8b")
    assert profile.link.copy_s.value == variant.settings["copy_s"] != shipped.link.copy_s.value
    assert profile.step == shipped.step


def test_a_swing_is_the_highest_factor_over_the_lowest_and_no_seed_is_an_assumption() -> None:
    found = []
    for seed, scale in ((7, 1.0), (8, 4.0)):
        for variant in variants():
            factor = {"5 s": 0.5, "20 s": 3.0}.get(variant.value, 1.0)
            found.append((variant, seed, dict.fromkeys(HEADLINES, 2.0 * scale * factor)))
    rows = swings(found, "ttft.p99")
    by_name = {each.assumption: each for each in rows}
    assert by_name.keys() == {"seed", *ASSUMPTIONS}
    assert by_name["think time, median"].factors == pytest.approx(
        {"10 s (default)": 4.0, "5 s": 2.0, "20 s": 12.0}
    )
    assert by_name["think time, median"].ratio == pytest.approx(6.0)
    assert by_name["seed"].ratio == pytest.approx(4.0)
    assert by_name["group_tokens"].ratio == pytest.approx(1.0)
    assert largest(rows).assumption == "think time, median"


def test_a_run_too_small_for_the_tails_is_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.sensitivity.ASSUMPTIONS", {})
    with pytest.raises(RuntimeError, match=r"default-default,seed=7: no ttft\.p99: .*samples"):
        list(play(base_of(3, 0.5), [7], 1, tmp_path))
