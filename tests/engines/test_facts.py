"""What a run records of its engines, and what is read of runs that recorded none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engines.api import EngineSettings
from engines.facts import EngineFacts, facts_of_old_run
from engines.registry import KINDS, settings_of_kind
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, write_run

CORE = {"kv_tokens": 1024, "swap_tokens": 4096}
GPU = {**CORE, "profile": "a10-llama3-8b"}
OLD: list[tuple[str, dict[str, Any]]] = [
    ("fastswitch", {**CORE, "model": "tiny-llama"}),
    ("simulated", GPU),
    ("simulated", {**GPU, "time": "wall"}),
    ("vllm", {"kv_tokens": 1024, "model": "tiny-llama"}),
    ("openai", {"base_url": "http://127.0.0.1:8000/v1"}),
]


def resolved(kind: str, entry: dict[str, Any]) -> EngineSettings:
    return settings_of_kind(kind).model_validate({"kind": kind, **entry}).resolve(None)


def test_every_kind_is_among_the_examples() -> None:
    assert {kind for kind, _ in OLD} == set(KINDS)


@pytest.mark.parametrize(("kind", "entry"), OLD)
def test_what_is_read_of_an_old_run_is_what_a_new_one_records(
    kind: str, entry: dict[str, Any]
) -> None:
    settings = resolved(kind, entry)
    assert facts_of_old_run(settings.model_dump(mode="json", by_alias=True)) == settings.facts()


def test_recorded_facts_win_over_what_the_settings_look_like(tmp_path: Path) -> None:
    manifest = Manifest.read(write_run(tmp_path, {"fast": FAST}))
    facts = EngineFacts(is_virtual=True)
    manifest.model_copy(update={"facts": {"fast": facts}}).write(tmp_path)
    assert Manifest.read(tmp_path).facts_of("fast") == facts
    manifest.model_copy(update={"engines": {"fast": {"kind": "of yesterday"}}}).write(tmp_path)
    assert Manifest.read(tmp_path).facts_of("fast") == EngineFacts()
