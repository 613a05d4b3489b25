"""`fsbench model write`: another engine gets the very model that the embedded one runs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer
from typer.testing import CliRunner

from engines.embedded.devices.loading import load_model
from engines.embedded.devices.weights import RandomTensors
from engines.embedded.devices.write_model import hugging_face_config
from engines.errors import EngineInputError
from engines.models.model_config import PRESETS
from engines.models.model_folder import write_model_folder
from suite.cli import app


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "tiny"
    done = CliRunner().invoke(app, ["model", "write", str(path), "--seed", "5"])
    assert done.exit_code == 0, done.output
    return path


def test_the_weights_are_the_embedded_engines_byte_for_byte(folder: Path) -> None:
    source = RandomTensors(PRESETS["tiny-llama"], 5)
    written = load_file(folder / "model.safetensors")
    assert written.keys() == source.shapes().keys()
    for name, tensor in written.items():
        assert torch.equal(tensor, source.load(name)), name


def test_the_embedded_engine_reads_the_same_model_back(folder: Path) -> None:
    again = load_model(str(folder), dtype="float32", seed=0)
    preset = load_model("tiny-llama", dtype="float32", seed=5)
    assert again.tokenizer.eos_token_ids == preset.tokenizer.eos_token_ids
    assert torch.equal(again.decoder.weights.embedding, preset.decoder.weights.embedding)
    messages = [{"role": "user", "content": "tell me"}]
    prompt = preset.tokenizer.apply_chat_template(messages)
    assert again.tokenizer.apply_chat_template(messages) == prompt
    other = AutoTokenizer.from_pretrained(folder)
    assert other.apply_chat_template(messages, add_generation_prompt=True)["input_ids"] == prompt
    assert other("some words").input_ids == preset.tokenizer.encode("some words")


def test_what_can_not_be_written_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineInputError, match="preset 'big' is unknown; choose one of: nano"):
        write_model_folder(tmp_path / "new", preset="big", seed=0)
    assert CliRunner().invoke(app, ["model", "write", str(folder)]).exception is not None


def test_a_config_that_llamas_words_can_not_describe_is_refused() -> None:
    config = PRESETS["tiny-llama"]
    frequencies = (1.0, *(each * 1.01 for each in config.inverse_frequencies[1:]))
    odd = type(config)(
        **{
            **{name: getattr(config, name) for name in config.__dataclass_fields__},
            "inverse_frequencies": frequencies,
        }
    )
    with pytest.raises(ValueError, match="RoPE frequencies are not those of one base"):
        hugging_face_config(odd, eos_token_id=2)
