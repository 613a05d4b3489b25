"""Azure LLM inference traces (2023, 2024): instants and lengths, no sessions: one turn each."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.files import Row, csv_rows

SOURCE = (
    "Azure LLM traces: github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace_conv.csv "
    "(see docs/workloads.md, Traces)"
)
PUBLIC = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
REBASED = ("t_s", "context_tokens", "generated_tokens")
EMPTY = "requests without prompt or answer tokens (skipped)"


def read_azure(path: Path, tally: Tally) -> list[ConversationShape]:
    requests: list[tuple[int, int, int]] = []
    for row in csv_rows(path, SOURCE, (PUBLIC, REBASED)):
        when, prompt, output = PUBLIC if "TIMESTAMP" in row.values else REBASED
        at = _timestamp_us(row) if when == "TIMESTAMP" else round(row.number(when, 0.0) * 1e6)
        lengths = row.integer(prompt, 0), row.integer(output, 0)
        if 0 in lengths:
            tally[EMPTY] += 1
        else:
            requests.append((at, *lengths))
    requests.sort(key=lambda request: request[0])
    return [
        ConversationShape(
            start_us=at,
            turns=(TurnShape(num_new_prompt_tokens=prompt, num_output_tokens=output),),
        )
        for at, prompt, output in requests
    ]


def _timestamp_us(row: Row) -> int:
    """Returns microseconds since the year 1; the seventh digit of the published files is
    dropped."""
    text = row.text("TIMESTAMP")
    try:
        instant = datetime.fromisoformat(text).replace(tzinfo=None)
    except ValueError:
        raise row.error(f"TIMESTAMP must be a date and time, got {text!r}") from None
    return (instant - datetime.min) // timedelta(microseconds=1)
