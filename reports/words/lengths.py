"""Planned against counted prompts, in a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_BY = {
    "usage": "sized by the server's usage",
    "tokenize": "sized by its /tokenize",
    "file": "sized by a tokenizer's file",
    "none": "a word for each token",
}


def prompt_lengths_text(found: Mapping[str, Any] | None) -> str | None:
    """Returns what is known of prompts that were words in place of tokens; None where there were
    none, or nobody counted."""
    if found is None or found["sized_by"] is None or found["counted_ratio"] is None:
        return None
    return (
        f"prompts: {found['counted_tokens']:,} tokens counted for {found['planned_tokens']:,} "
        f"planned ({found['counted_ratio']:.3f}×{_first(found)}; {found['num_turns_off']:,} of "
        f"{found['num_told_turns']:,} turns off by more than 5 %), {_BY[found['sized_by']]}"
    )


def _first(found: Mapping[str, Any]) -> str:
    ratio = found["first_counted_ratio"]
    return "" if ratio is None else f", first prompts {ratio:.3f}×"
