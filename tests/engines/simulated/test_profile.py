from __future__ import annotations

from pathlib import Path

import pytest

from engines.errors import EngineInputError
from engines.simulated.cost_model import CostModel
from engines.simulated.profile import load_profile, profile_yaml, shipped_profiles

SHEET = """\
name: my-gpu
model: llama-3-8b
datasheet:
  gpu: My GPU
  memory_bytes_per_s: 1.0e+12
  flops_per_s: 2.0e+14
  link_bytes_per_s: 3.2e+10
"""


def test_what_is_shipped_can_be_read_and_says_how_far_it_can_be_trusted() -> None:
    assert shipped_profiles() == [
        "a10-llama3-8b",
        "a100-qwen-32b",
        "h100-llama3-8b",
        "h100x4-llama3-70b",
        "h200-llama3-8b",
        "rtx4090-llama31-8b",
        "rtxpro6000-llama31-8b",
        "rtxpro6000-qwen3-32b",
        "rtxpro6000x2-qwen3-32b",
    ]
    for name in shipped_profiles():
        profile = load_profile(name)
        assert profile.name == name
        assert profile.caveat.startswith("Modelled, not measured: ")


@pytest.mark.parametrize("name", ["a10-llama3-8b", "a100-qwen-32b"])
def test_nobody_measured_these_and_they_say_so(name: str) -> None:
    assert "kernel times by analogy with other GPUs" in load_profile(name).caveat


def test_a_profile_is_the_same_after_a_round_through_its_file(tmp_path: Path) -> None:
    profile = load_profile("rtxpro6000x2-qwen3-32b")
    path = tmp_path / "mine.yaml"
    path.write_text(profile_yaml(profile))
    assert load_profile(str(path)) == profile


def test_shapes_are_those_that_were_published() -> None:
    billions = {}
    for name in ("a10-llama3-8b", "a100-qwen-32b", "rtxpro6000-qwen3-32b"):
        shape = load_profile(name).shape
        heads = 2 * shape.num_heads + 2 * shape.num_kv_heads
        layer = shape.hidden_size * (heads * shape.head_dim + 3 * shape.intermediate_size)
        whole = shape.num_layers * layer + 2 * shape.hidden_size * shape.vocab_size
        billions[name] = round(whole / 1e9, 1)
    assert billions == {"a10-llama3-8b": 8.0, "a100-qwen-32b": 32.5, "rtxpro6000-qwen3-32b": 32.8}


def test_a_datasheet_and_a_model_make_a_profile(tmp_path: Path) -> None:
    path = tmp_path / "sheet.yaml"
    path.write_text(SHEET)
    profile = load_profile(str(path))
    assert "from datasheets" in profile.caveat
    weights_s = 2 * 6.98e9 / 0.9e12
    layers_s = profile.shape.num_layers * CostModel(profile).products_s(1)
    assert layers_s == pytest.approx(weights_s, rel=0.01)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            SHEET.replace("llama-3-8b", "gpt-9"),
            "neither a known shape (nano-llama, tiny-llama, llama-3-8b",
        ),
        (SHEET.replace("2.0e+14", "0.0"), "datasheet.flops_per_s: input should be greater than 0"),
        (SHEET.replace("name", "nome"), "name: field required"),
        ("a: [", "is not YAML"),
        ("[]", "the file: input should be a valid dictionary"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(EngineInputError) as error:
        load_profile(str(path))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a11-llama3-8b", "missing.yaml"])
def test_an_unknown_profile_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(EngineInputError, match=f"{name}.*a10-llama3-8b, a100-qwen-32b"):
        load_profile(name)
