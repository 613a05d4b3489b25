"""BurstGPT: a csv of requests to ChatGPT and GPT-4; newer releases know the session.

`Request tokens` is the whole prompt that was sent. In a session, a request longer than the history
so far continues the conversation; one that is not starts a new one (the user cleared it, or the
history was not sent). Without session ids each request is a conversation of one turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from workloads.shapes import ConversationShape, Tally, TurnShape
from workloads.traces.files import Row, csv_rows

SOURCE = "BurstGPT: github.com/HPMLL/BurstGPT, data/ and releases (see docs/workloads.md, Traces)"
COLUMNS = ("Timestamp", "Request tokens", "Response tokens")
SESSION_COLUMNS = ("Session ID", "SessionID")
ELAPSED = "Elapsed time"
FAILED = "failed requests, 0 response tokens (skipped)"
EMPTY = "requests without prompt tokens (skipped)"
RESET = "requests of a session not longer than its history (new conversation)"
OVERLAP = "turns sent before the previous answer's end (no pause)"


@dataclass(slots=True)
class _Session:
    """The newest conversation of a session while it is being rebuilt."""

    start_us: int
    turns: list[TurnShape] = field(default_factory=list)
    context: int = 0
    answered_us: int = 0  # sent + elapsed time, or just sent where that column is missing


def read_burstgpt(path: Path, tally: Tally) -> Iterator[ConversationShape]:
    conversations: list[_Session] = []
    open_sessions: dict[str, _Session] = {}
    for row in csv_rows(path, SOURCE, (COLUMNS,)):
        prompt, output = row.integer("Request tokens", 0), row.integer("Response tokens", 0)
        if output == 0 or prompt == 0:
            tally[FAILED if output == 0 else EMPTY] += 1
            continue
        at_us, name = row.instant_us("Timestamp", 1_000_000), _session_name(row)
        session = open_sessions.get(name)
        if session is None or prompt <= session.context:
            if session is not None:
                tally[RESET] += 1
            session = _Session(start_us=at_us)
            conversations.append(session)
        if name:
            open_sessions[name] = session
        _append(
            session,
            row,
            at_us,
            TurnShape(
                num_new_prompt_tokens=prompt - session.context,
                num_output_tokens=output,
                gap_us=_pause_us(session, at_us, tally),
            ),
        )
    conversations.sort(key=lambda session: session.start_us)
    for each in conversations:
        yield ConversationShape(start_us=each.start_us, turns=tuple(each.turns))


def _session_name(row: Row) -> str:
    """Returns the session's name; empty where there is none."""
    return next((row.text(key).strip() for key in SESSION_COLUMNS if key in row.values), "")


def _pause_us(session: _Session, at_us: int, tally: Tally) -> int | None:
    if not session.turns:
        return None
    if at_us < session.answered_us:
        tally[OVERLAP] += 1
    return max(0, at_us - session.answered_us)


def _append(session: _Session, row: Row, at_us: int, turn: TurnShape) -> None:
    elapsed_us = row.duration_us(ELAPSED) if ELAPSED in row.values else 0
    session.turns.append(turn)
    session.context += turn.num_tokens
    session.answered_us = at_us + elapsed_us
