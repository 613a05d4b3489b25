"""Azure LLM inference traces (2023, 2024): instants and lengths, no sessions: one turn each."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from workloads.shapes import ConversationShape, Tally
from workloads.traces.files import Row, csv_rows
from workloads.traces.requests import Requests

SOURCE = (
    "Azure LLM traces: github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv "
    "(see docs/workloads.md, Traces)"
)
PUBLIC = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
REBASED = ("t_s", "context_tokens", "generated_tokens")
EMPTY = "requests without prompt or answer tokens (skipped)"
YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)


def read_azure(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    requests = Requests()
    for row in csv_rows(path, SOURCE, (PUBLIC, REBASED)):
        when, prompt, output = PUBLIC if "TIMESTAMP" in row.values else REBASED
        at = _timestamp_us(row) if when == "TIMESTAMP" else row.instant_us(when, 1_000_000)
        lengths = row.integer(prompt, 0), row.integer(output, 0)
        if 0 in lengths:
            tally[EMPTY] += 1
        else:
            requests.add(at, *lengths)
    return requests.in_order()


def _timestamp_us(row: Row) -> int:
    """Returns microseconds since the year 1, in UTC where a time zone is told; the seventh digit of
    the published files is dropped."""
    text = row.text("TIMESTAMP").strip()
    try:
        instant = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        raise row.error(f"TIMESTAMP must be a date and time, got {text!r}") from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - YEAR_1) // timedelta(microseconds=1)
