"""Makes tokenizers: from a Hugging Face folder, a GGUF file's metadata, or nothing at all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from string import ascii_letters, ascii_lowercase
from typing import Any

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, processors

from engines.errors import EngineInputError
from engines.serving.tokenizer import Tokenizer

_CONTROL_TOKEN, _USER_DEFINED_TOKEN = 3, 4  # tokenizer.ggml.token_type

_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# tokenizer.ggml.pre → how text is cut before the merges.
_SPLITS = {
    "gpt-2": (),
    "smollm": (pre_tokenizers.Digits(individual_digits=True),),
    "llama-bpe": (pre_tokenizers.Split(Regex(_WORDS.format(digits=r"\p{N}{1,3}")), "isolated"),),
    "qwen2": (pre_tokenizers.Split(Regex(_WORDS.format(digits=r"\p{N}")), "isolated"),),
}


def tokenizer_from_folder(folder: Path, eos_token_ids: tuple[int, ...] = ()) -> Tokenizer:
    """Returns the tokenizer of `tokenizer.json`, with `tokenizer_config.json` and
    `chat_template.jinja` where present.

    eos_token_ids: those of the model's config; the tokenizer's own joins them. Raises
    EngineInputError.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise EngineInputError(
            f"{folder}: has no tokenizer.json; save one with"
            " AutoTokenizer.from_pretrained(...).save_pretrained(...)"
        )
    try:
        backend = tokenizers.Tokenizer.from_file(str(path))
        config = _read_object(folder / "tokenizer_config.json")
    except Exception as error:  # the library raises plain Exception
        raise EngineInputError(f"{folder}: the tokenizer cannot be read ({error})") from None
    backend.no_truncation()
    backend.no_padding()
    special_tokens = {
        name: text
        for name in ("bos_token", "eos_token", "unk_token", "pad_token")
        if (text := _token_text(config.get(name))) is not None
    }
    own_eos = backend.token_to_id(special_tokens.get("eos_token", ""))
    return Tokenizer(
        backend,
        eos_token_ids=frozenset(eos_token_ids) | ({own_eos} if own_eos is not None else set()),
        chat_template=_folder_template(folder, config),
        special_tokens=special_tokens,
    )


def tokenizer_from_gguf(metadata: Mapping[str, Any], *, where: str) -> Tokenizer:
    """Returns byte-level BPE from `tokenizer.ggml.*`. Raises EngineInputError."""
    model, pre = (metadata.get(f"tokenizer.ggml.{key}") for key in ("model", "pre"))
    if model != "gpt2" or pre not in _SPLITS:
        raise EngineInputError(
            f"{where}: tokenizer {model!r} with pre-tokenizer {pre!r} is not supported; use a gpt2"
            f" one with any of {', '.join(_SPLITS)}, or the model's Hugging Face folder"
        )
    tokens: list[str] = metadata["tokenizer.ggml.tokens"]
    merges = [
        (first, second)
        for first, _, second in (
            merge.partition(" ") for merge in metadata["tokenizer.ggml.merges"]
        )
    ]
    backend = _byte_level_bpe(tokens, merges, _SPLITS[pre], ignore_merges=pre == "llama-bpe")
    kinds = metadata.get("tokenizer.ggml.token_type", [])
    for is_special, kind in ((True, _CONTROL_TOKEN), (False, _USER_DEFINED_TOKEN)):
        texts = [token for token, its_kind in zip(tokens, kinds, strict=False) if its_kind == kind]
        backend.add_tokens(
            [AddedToken(text, special=is_special, normalized=False) for text in texts]
        )
    ids = {
        name: metadata[f"tokenizer.ggml.{name}_token_id"]
        for name in ("bos", "eos", "eot")
        if f"tokenizer.ggml.{name}_token_id" in metadata
    }
    if metadata.get("tokenizer.ggml.add_bos_token", False):
        bos = tokens[ids["bos"]]
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, ids["bos"])]
        )
    return Tokenizer(
        backend,
        eos_token_ids=frozenset(ids[name] for name in ("eos", "eot") if name in ids),
        chat_template=metadata.get("tokenizer.chat_template"),
        special_tokens={f"{name}_token": tokens[token_id] for name, token_id in ids.items()},
    )


def synthetic_tokenizer(vocab_size: int) -> Tokenizer:
    """Returns a tokenizer for a model nobody trained: systematic merges in place of learned ones.

    Three marks, 256 bytes, then syllables, with and without a space before. Any text survives
    encode and decode, and every id has a text of its own: the marks are not skipped in decoding.
    """
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokens = marks + sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = list(islice(_syllables(), vocab_size - len(tokens)))
    tokens += [first + second for first, second in merges]
    if len(tokens) != vocab_size:
        raise ValueError(f"vocab_size must be 259 to {len(tokens)}, got {vocab_size}")
    backend = _byte_level_bpe(tokens, merges, _SPLITS["gpt-2"])
    backend.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in marks])
    return Tokenizer(
        backend,
        eos_token_ids=frozenset({tokens.index("<|im_end|>")}),
        special_tokens={"bos_token": "<|endoftext|>", "eos_token": "<|im_end|>"},
    )


def _byte_level_bpe(
    tokens: list[str],
    merges: list[tuple[str, str]],
    splits: tuple[pre_tokenizers.PreTokenizer, ...],
    *,
    ignore_merges: bool = False,
) -> tokenizers.Tokenizer:
    vocab = {token: token_id for token_id, token in enumerate(tokens)}
    backend = tokenizers.Tokenizer(
        models.BPE(vocab=vocab, merges=merges, ignore_merges=ignore_merges)
    )
    is_cut_already = any(isinstance(split, pre_tokenizers.Split) for split in splits)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not is_cut_already)
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    backend.decoder = decoders.ByteLevel()
    return backend


def _syllables() -> Iterator[tuple[str, str]]:
    """Returns merges in order of rank, about 8,200; Ġ is the space before a word."""
    yield from (("Ġ", letter) for letter in ascii_letters)
    pairs = [first + second for first in ascii_lowercase for second in ascii_lowercase]
    open_pairs = [pair for pair in pairs if pair[1] in "aeiou"]
    for start in ("Ġ", ""):
        yield from ((start + pair[0], pair[1]) for pair in pairs)
        yield from ((start + pair, last) for pair in open_pairs for last in ascii_lowercase)


def _folder_template(folder: Path, config: Mapping[str, Any]) -> str | None:
    path = folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    template = config.get("chat_template")
    if isinstance(template, list):  # several, by name
        named = {entry["name"]: entry["template"] for entry in template}
        template = named.get("default")
    return template


def _token_text(value: Any) -> str | None:
    """Returns a token's text, which stands in tokenizer_config.json as such or as {"content": text,
    …}."""
    if isinstance(value, dict):
        value = value.get("content")
    return value if isinstance(value, str) else None


def _read_object(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = json.loads(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}
