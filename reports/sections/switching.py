"""What is drawn of an engine's own logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from reports.sections.copies import CopyView, copy_view
from reports.sections.kv_over_time import KvView, kv_view
from reports.sections.slow_request import SlowRequest, slow_request
from suite.records.engine_logs import EngineLogs

View = TypeVar("View")


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchingView:
    kv: KvView | None
    copies: CopyView | None
    slow_request: SlowRequest | None
    unavailable: tuple[str, ...] = field(default=())  # logs that can not be drawn, one line each


def switching_view(logs: Sequence[tuple[int, EngineLogs]]) -> SwitchingView:
    """`logs`: (repeat, its logs). A log of an older version without a column that a figure needs
    costs that figure alone, and is named."""
    notes: list[str] = []
    steps = [(repeat, each) for repeat, each in logs if each.steps is not None and len(each.steps)]
    transfers = [each.transfers for _, each in logs if each.transfers is not None]
    requests = [each.requests for _, each in logs if each.requests is not None]
    return SwitchingView(
        kv=_tried(lambda: kv_view(*steps[0]), "steps", notes) if steps else None,
        copies=_tried(lambda: copy_view(transfers), "transfers", notes),
        slow_request=_tried(lambda: slow_request(requests), "requests", notes),
        unavailable=tuple(notes),
    )


def _tried(view: Callable[[], View], log: str, notes: list[str]) -> View | None:
    """pyarrow raises KeyError for a column that the file has not."""
    try:
        return view()
    except KeyError as missing:
        said = str(missing.args[0])  # pyarrow: a sentence with the name in quotes; a dict: the name
        column = said.split('"')[1] if '"' in said else said
        notes.append(
            f"{log}.parquet has no column {column}: it was written by another version; "
            "what is drawn of it is left out"
        )
        return None
