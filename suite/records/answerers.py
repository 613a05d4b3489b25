"""Who gave the answers of a trial: model, `system_fingerprint` and software as they name them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from engines.identity import ServerIdentity
from suite.plurals import several

MAX_SHOWN = 3
COLUMNS = ("answered_model", "system_fingerprint", "answered_server")


class AnsweredBy(BaseModel):
    """One who answered; None for what the answers do not name."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None
    system_fingerprint: str | None
    server: str | None
    num_turns: int

    @property
    def text(self) -> str:
        """Returns what it calls itself, in one line."""
        fingerprint = self.system_fingerprint
        named = (
            self.server,
            None if self.model is None else f"model {self.model}",
            None if fingerprint is None else f"fingerprint {fingerprint}",
        )
        return ", ".join(filter(None, named))


def answerers(turns: pa.Table) -> list[AnsweredBy]:
    """Returns who answered the turns, the commonest first; a turn without an answer, or whose
    answer names nobody, is not counted."""
    rows = zip(*(turns[name].to_pylist() for name in COLUMNS), strict=True)
    found = Counter(row for row in rows if row[0] is not None or row[1] is not None)
    return [
        AnsweredBy(model=model, system_fingerprint=fingerprint, server=server, num_turns=num)
        for (model, fingerprint, server), num in found.most_common()
    ]


def version_text(
    identity: ServerIdentity | None, answered: Sequence[AnsweredBy], asked_model: str
) -> str | None:
    """Returns what ran, in one line: what the server's pages tell, and what the answers name beyond
    that. None where nobody tells anything."""
    parts = [] if identity is None or identity.text is None else [identity.text]
    for server in dict.fromkeys(each.server for each in answered):
        if server is not None and not any(server in part for part in parts):
            parts.append(f"answers from {server}")
    models = dict.fromkeys(each.model for each in answered)
    parts += [f"model {each}" for each in models if each not in (None, asked_model)]
    fingerprints = dict.fromkeys(each.system_fingerprint for each in answered)
    parts += [f"fingerprint {each}" for each in fingerprints if each is not None]
    return "; ".join(parts) or None


def change_remark(found: Sequence[AnsweredBy]) -> str | None:
    """Returns a line where not all answers came from one and the same; None where they did."""
    if len(found) < 2:
        return None
    shown = [f"{several(each.num_turns, 'turn')} {each.text}" for each in found[:MAX_SHOWN]]
    if len(found) > MAX_SHOWN:
        shown.append(f"and {len(found) - MAX_SHOWN} others")
    return (
        f"answers came from {len(found)} models or versions ({'; '.join(shown)}): the figures are "
        "of all of them together; pin one, or measure while nothing is rolled out"
    )
