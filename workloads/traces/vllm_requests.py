"""Requests as a vLLM server measured them: queueing instants and lengths, one turn each.

Its own latencies stand beside them in the file; they are no part of a workload and are not read.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from workloads.shapes import ConversationShape, Tally
from workloads.traces.files import csv_rows
from workloads.traces.requests import Requests

SOURCE = "requests of a vLLM run: github.com/casys-kaist/LLMServingSim (see docs/workloads.md)"
COLUMNS = ("input_toks", "output_toks", "queued_s")


def read_vllm_requests(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    del tally  # nothing is skipped
    requests = Requests()
    for row in csv_rows(path, SOURCE, (COLUMNS,)):
        lengths = row.integer("input_toks", 1), row.integer("output_toks", 1)
        requests.add(row.instant_us("queued_s", 1_000_000), *lengths)
    return requests.in_order()
