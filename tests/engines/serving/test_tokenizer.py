from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from engines.errors import EngineInputError
from engines.serving.chat_template import ChatTemplateError
from engines.serving.tokenizer import Detokenizer, Tokenizer
from engines.serving.tokenizer_sources import (
    synthetic_tokenizer,
    tokenizer_from_folder,
    tokenizer_from_gguf,
)

TINY = synthetic_tokenizer(8192)
QUESTION = [{"role": "user", "content": "Hi there"}]
token_ids = st.lists(st.integers(0, 8191) | st.integers(3, 258), max_size=40)


# ---- the tokenizer of a model nobody trained ----


def test_every_id_has_a_text() -> None:
    assert TINY.vocab_size == 8192
    assert all(TINY.decode([token_id]) for token_id in range(8192))


@given(text=st.text(max_size=200))
def test_any_text_round_trips(text: str) -> None:
    assert TINY.decode(TINY.encode(text)) == text


def test_it_is_the_same_every_time_and_merges_syllables() -> None:
    assert synthetic_tokenizer(8192).backend.to_str() == TINY.backend.to_str()
    text = "the quick brown fox jumps over the lazy dog"
    assert len(TINY.encode(text)) < len(text) / 2


def test_a_vocabulary_it_cannot_fill_is_refused() -> None:
    with pytest.raises(ValueError, match="vocab_size must be 259 to"):
        synthetic_tokenizer(100_000)


# ---- incremental decoding ----


def pieces_of(tokenizer: Tokenizer, ids: list[int], cuts: list[int]) -> list[str]:
    detokenizer = Detokenizer(tokenizer)
    bounds = [0, *sorted(cut % (len(ids) + 1) for cut in cuts), len(ids)]
    pieces = [detokenizer.push(ids[start:stop]) for start, stop in pairwise(bounds)]
    return [*pieces, detokenizer.finish()]


@settings(max_examples=300)
@given(ids=token_ids, cuts=st.lists(st.integers(0, 100), max_size=40))
def test_pieces_concatenate_to_the_whole_however_they_are_cut(
    ids: list[int], cuts: list[int]
) -> None:
    assert "".join(pieces_of(TINY, ids, cuts)) == TINY.decode(ids)


@given(text=st.text(st.characters(min_codepoint=0x80, exclude_categories=["Cs"]), max_size=30))
def test_no_piece_holds_half_a_character(text: str) -> None:
    text = text.replace("\ufffd", "")
    detokenizer = Detokenizer(TINY)
    pieces = [detokenizer.push([token_id]) for token_id in TINY.encode(text)]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) == text
    assert detokenizer.finish() == ""


def test_a_character_cut_off_by_the_end_is_shown_as_one_replacement() -> None:
    detokenizer = Detokenizer(TINY)
    half = TINY.encode("€")[:2]
    assert detokenizer.push(half) == ""
    assert detokenizer.finish() == "\ufffd" == TINY.decode(half)


def test_a_decoder_that_strips_the_first_space_keeps_the_others() -> None:
    vocab = {"<s>": 0, "▁a": 1, "▁b": 2, "c": 3}
    backend = tokenizers.Tokenizer(models.WordLevel(vocab, unk_token="c"))
    backend.decoder = decoders.Metaspace()
    backend.add_special_tokens(["<s>"])
    tokenizer = Tokenizer(backend, eos_token_ids=frozenset())
    ids = [0, 1, 0, 2, 3, 0, 0, 1, 2]
    assert pieces_of(tokenizer, ids, [*range(len(ids))]) != [tokenizer.decode(ids)]
    assert "".join(pieces_of(tokenizer, ids, [*range(len(ids))])) == "a bc a b"


# ---- chat templates ----


def with_template(template: str | None) -> Tokenizer:
    return Tokenizer(
        TINY.backend,
        eos_token_ids=frozenset(),
        chat_template=template,
        special_tokens={"bos_token": "<|endoftext|>"},
    )


def rendered(template: str | None, messages: list[dict[str, Any]]) -> str:
    return TINY.decode(with_template(template).apply_chat_template(messages))


def test_without_a_template_chatml_is_used_where_its_marks_exist() -> None:
    expected = "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n"
    assert rendered(None, QUESTION) == expected
    assert with_template(None).apply_chat_template(QUESTION)[0] == 1  # the mark, not its letters


def test_a_template_may_name_special_tokens_and_loop_over_messages() -> None:
    template = "{{ bos_token }}{% for m in messages %}[{{ m.role }}] {{ m.content }}{% endfor %}"
    assert rendered(template, QUESTION) == "<|endoftext|>[user] Hi there"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{% for m in messages %}{{ m.content + 1 }}{% endfor %}", "can only concatenate str"),
        ("{{ messages.append(1) }}", "is not safely callable|unsafe"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% if %}", "Expected an expression"),
    ],
)
def test_what_a_template_refuses_is_one_line(template: str, reason: str) -> None:
    tokenizer = with_template(template)
    with pytest.raises(ChatTemplateError, match=reason) as got:
        tokenizer.apply_chat_template(QUESTION)
    assert "\n" not in str(got.value)


# ---- a Hugging Face folder ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    TINY.backend.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def write_config(folder: Path, **config: Any) -> None:
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def test_a_folder_needs_only_tokenizer_json(folder: Path) -> None:
    tokenizer = tokenizer_from_folder(folder, eos_token_ids=(5,))
    assert tokenizer.encode("hello world") == TINY.encode("hello world")
    assert tokenizer.eos_token_ids == {5}


def test_the_tokenizers_own_end_of_sequence_joins_the_models(folder: Path) -> None:
    write_config(folder, eos_token={"content": "<|im_end|>"})
    assert tokenizer_from_folder(folder, eos_token_ids=(5,)).eos_token_ids == {5, 2}


@pytest.mark.parametrize(
    "template",
    ["named {{ eos_token }}", [{"name": "default", "template": "named {{ eos_token }}"}]],
)
def test_the_template_comes_from_tokenizer_config(folder: Path, template: Any) -> None:
    write_config(folder, eos_token="<|im_end|>", chat_template=template)
    tokenizer = tokenizer_from_folder(folder)
    assert tokenizer.decode(tokenizer.apply_chat_template(QUESTION)) == "named <|im_end|>"


def test_chat_template_jinja_wins(folder: Path) -> None:
    write_config(folder, chat_template="old")
    (folder / "chat_template.jinja").write_text("new")
    tokenizer = tokenizer_from_folder(folder)
    assert tokenizer.decode(tokenizer.apply_chat_template(QUESTION)) == "new"


def test_truncation_stored_with_the_tokenizer_is_not_applied(folder: Path) -> None:
    backend = tokenizers.Tokenizer.from_str(TINY.backend.to_str())
    backend.enable_truncation(4)
    backend.enable_padding(length=4)
    backend.save(str(folder / "tokenizer.json"))
    text = "a long text, longer than four tokens"
    assert tokenizer_from_folder(folder).encode(text) == TINY.encode(text)


def test_a_broken_tokenizer_config_is_one_line(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(EngineInputError, match="the tokenizer cannot be read"):
        tokenizer_from_folder(folder)


# ---- GGUF metadata ----


def metadata(**changes: Any) -> dict[str, Any]:
    model = json.loads(TINY.backend.to_str())["model"]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": list(model["vocab"]),
        "tokenizer.ggml.token_type": [3, 3, 3] + [1] * (8192 - 3),
        "tokenizer.ggml.merges": [" ".join(merge) for merge in model["merges"]],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    } | {f"tokenizer.{key}": value for key, value in changes.items()}


def test_control_tokens_are_one_id_and_no_text() -> None:
    tokenizer = tokenizer_from_gguf(metadata(), where="model.gguf")
    ids = tokenizer.encode("<|im_start|>hello")
    assert ids[0] == 1
    assert tokenizer.decode(ids) == "hello"
    assert tokenizer.eos_token_ids == {2}


@given(text=st.text(max_size=60).filter(lambda text: "<|" not in text))  # marks are no text here
@pytest.mark.parametrize("pre", ["smollm", "gpt-2", "llama-bpe", "qwen2"])
def test_text_round_trips_through_every_pre_tokenizer(pre: str, text: str) -> None:
    tokenizer = GGUF_TOKENIZERS[pre]
    assert tokenizer.decode(tokenizer.encode(text)) == text


GGUF_TOKENIZERS = {
    pre: tokenizer_from_gguf(metadata(**{"ggml.pre": pre}), where="model.gguf")
    for pre in ("smollm", "gpt-2", "llama-bpe", "qwen2")
}


@pytest.mark.parametrize(
    ("pre", "expected"),
    [
        ("smollm", ["a", "1", "2", "3", "4", "\n", "\n", "it", "'s"]),
        ("gpt-2", ["a", "1234", "\n", "\n", "it", "'s"]),
        ("llama-bpe", ["a", "123", "4", "\n\n", "it", "'s"]),
        ("qwen2", ["a", "1", "2", "3", "4", "\n\n", "it", "'s"]),
    ],
)
def test_each_pre_tokenizer_cuts_as_its_model_was_trained(pre: str, expected: list[str]) -> None:
    cutter = GGUF_TOKENIZERS[pre].backend.pre_tokenizer
    assert cutter is not None
    cut = [piece.replace("Ċ", "\n") for piece, _ in cutter.pre_tokenize_str("a1234\n\nit's")]
    assert cut == expected


def test_a_beginning_of_sequence_is_added_where_the_file_says_so() -> None:
    tokenizer = tokenizer_from_gguf(metadata(**{"ggml.add_bos_token": True}), where="model.gguf")
    assert tokenizer.encode("hi")[0] == 1
    assert tokenizer.apply_chat_template(QUESTION).count(1) == 2  # the template's own, no more


def test_the_files_template_is_used() -> None:
    source = metadata(chat_template="{{ messages[0].content }}")
    tokenizer = tokenizer_from_gguf(source, where="model.gguf")
    assert tokenizer.decode(tokenizer.apply_chat_template(QUESTION)) == "Hi there"


def test_a_sentencepiece_vocabulary_is_refused_by_name() -> None:
    with pytest.raises(EngineInputError, match=r"^model.gguf: tokenizer 'llama' .* not supported"):
        tokenizer_from_gguf(metadata(**{"ggml.model": "llama"}), where="model.gguf")
