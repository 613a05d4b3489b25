"""The same weights, the same greedy tokens: our decoder against the reference implementation."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from engines.embedded.devices.attention import PlannedAttention
from engines.embedded.devices.attention_plan import plan_attention
from engines.embedded.devices.loading import load_model
from engines.embedded.devices.model import Decoder
from engines.serving.tokenizer_sources import synthetic_tokenizer
from tests.engines.embedded.devices.decoding import Sequence, device_for, step

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 0,
    "eos_token_id": 2,
}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "llama-bias-tied": ("Llama", {"attention_bias": True, "tie_word_embeddings": True}),
    "llama3-rope": ("Llama", {"rope_parameters": LLAMA3_ROPE}),
    "mistral": ("Mistral", {"sliding_window": None, "head_dim": 32}),
    "qwen2-tied": ("Qwen2", {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3-tied": ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
}
PROMPT = [random.Random(1).randrange(300) for _ in range(45)]
NUM_OUTPUT = 12


def reference_model(name: str) -> Any:
    """Weights far from their initial values, so that every switch of the config shows."""
    family, changes = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**SIZES, **changes)
    torch.manual_seed(0)
    model = getattr(transformers, f"{family}ForCausalLM")(config).double().eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
                parameter.mul_(2.0 if ".q_norm" in key or ".k_norm" in key else 1.0)
            else:
                parameter.normal_(std=1.5 / parameter.shape[-1] ** 0.5)
    return model


def reference_tokens(model: Any) -> list[int]:
    with torch.inference_mode():
        tokens = model.generate(
            torch.tensor([PROMPT]),
            attention_mask=torch.ones(1, len(PROMPT), dtype=torch.int64),
            max_new_tokens=NUM_OUTPUT,
            min_new_tokens=NUM_OUTPUT,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
        )
    return list(tokens[0, len(PROMPT) :].tolist())


def saved(model: Any, folder: Path, **how: Any) -> Path:
    model.save_pretrained(folder, **how)
    synthetic_tokenizer(300).backend.save(str(folder / "tokenizer.json"))
    return folder


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    model = reference_model(request.param)
    folder = saved(model, tmp_path_factory.mktemp(request.param))
    decoder = load_model(str(folder), dtype="float64", seed=0).decoder
    with torch.inference_mode():
        logits = model(torch.tensor([PROMPT])).logits[0]
    return decoder, reference_tokens(model), logits


def in_one_piece(decoder: Decoder) -> list[int]:
    device, sequence = device_for(decoder), Sequence(token_ids=PROMPT, block_table=[*range(20)])
    while len(sequence.output) < NUM_OUTPUT:
        step(device, (sequence, None))
    return sequence.output


def in_chunks(decoder: Decoder) -> list[int]:
    """Uneven ones, over scattered blocks."""
    blocks = random.Random(2).sample(range(64), 20)
    device, sequence = device_for(decoder), Sequence(token_ids=PROMPT, block_table=blocks)
    for num_tokens in (1, 10, 3, 20, 1, None):
        step(device, (sequence, num_tokens))
    while len(sequence.output) < NUM_OUTPUT:
        step(device, (sequence, None))
    return sequence.output


def beside_others(decoder: Decoder) -> list[int]:
    """Decodes and prefill chunks of others in every batch, before and after ours."""
    rng = random.Random(3)
    others = [
        Sequence(token_ids=[rng.randrange(300) for _ in range(n)], block_table=blocks)
        for n, blocks in ((5, [*range(24, 36)]), (30, [*range(36, 50)]), (60, [*range(50, 66)]))
    ]
    ours = Sequence(token_ids=PROMPT, block_table=[*range(20)][::-1])
    device = device_for(decoder, num_blocks=70)
    step(device, (others[0], None), (ours, 7), (others[1], None))
    step(device, (others[0], None), (others[1], None), (ours, 13), (others[2], 4))
    step(device, (others[0], None), (others[2], 4), (ours, None))
    while len(ours.output) < NUM_OUTPUT:
        step(device, (others[0], None), (ours, None), (others[1], None), (others[2], 4))
    return ours.output


@pytest.mark.parametrize("way", [in_one_piece, in_chunks, beside_others])
def test_greedy_tokens_equal_the_reference(case: Any, way: Callable[[Decoder], list[int]]) -> None:
    decoder, expected, _ = case
    assert way(decoder) == expected


def test_logits_equal_the_reference_at_every_position(case: Any) -> None:
    decoder, _, expected = case
    chunk = Sequence(token_ids=PROMPT, block_table=[*range(12)]).chunk()
    cpu, rows = torch.device("cpu"), torch.arange(len(PROMPT))
    config = decoder.config
    shape = (config.num_layers, 2, 12, 4, config.num_kv_heads, config.head_dim)
    kv = torch.zeros(shape, dtype=torch.float64)
    plan = plan_attention([chunk], 4, device=cpu, dtype=torch.float64)
    logits = decoder.forward(torch.tensor(PROMPT), rows, PlannedAttention(plan), kv, rows)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)  # RoPE's angles are float32


def test_sharded_weights_are_the_single_files(tmp_path: Path) -> None:
    model = reference_model("qwen2")
    folder = saved(model, tmp_path, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 2
    decoder = load_model(str(folder), dtype="float64", seed=0).decoder
    assert in_one_piece(decoder) == reference_tokens(model)


def test_the_configs_end_of_sequence_ids_reach_the_tokenizer(tmp_path: Path) -> None:
    model = reference_model("llama")
    model.generation_config.eos_token_id = [2, 7]
    loaded = load_model(str(saved(model, tmp_path)), dtype="float32", seed=0)
    assert loaded.tokenizer.eos_token_ids == {2, 7}
