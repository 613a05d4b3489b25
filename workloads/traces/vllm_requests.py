"""Requests as a vLLM server measured them: queueing instants and lengths, one turn each.

Its own latencies stand beside them in the file; they are no part of a workload and are not read.
"""

from __future__ import annotations

from pathlib import Path

from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.files import csv_rows

SOURCE = "requests of a vLLM run: github.com/casys-kaist/LLMServingSim (see docs/workloads.md)"
COLUMNS = ("input_toks", "output_toks", "queued_s")


def read_vllm_requests(path: Path, tally: Tally) -> list[ConversationShape]:
    del tally  # nothing is skipped
    shapes = [
        ConversationShape(
            start_us=round(row.number("queued_s", 0.0) * 1e6),
            turns=(
                TurnShape(
                    num_new_prompt_tokens=row.integer("input_toks", 1),
                    num_output_tokens=row.integer("output_toks", 1),
                ),
            ),
        )
        for row in csv_rows(path, SOURCE, (COLUMNS,))
    ]
    return sorted(shapes, key=lambda shape: shape.start_us or 0)
