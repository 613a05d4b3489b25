"""What was found out about a server, as values: for the terminal, for JSON, for a workload file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from engines.identity import ServerIdentity

# yes: it does; no: it refuses or lacks it; ignored: it answers, and does not do it; unknown: it
# answers, and whether it does it can not be seen from outside; good and bad are of the stream.
Outcome = Literal["yes", "no", "ignored", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    what: str
    outcome: Outcome
    text: str  # one line: what was seen
    is_problem: bool = False  # the figures of a run would be the worse for it

    def as_json(self) -> dict[str, Any]:
        return {
            "what": self.what,
            "outcome": self.outcome,
            "text": self.text,
            "is_problem": self.is_problem,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One server. `entry` is what to write under `engines:`, its comments by key."""

    name: str
    base_url: str
    model: str
    identity: ServerIdentity
    answered: str | None  # model, fingerprint and software as the answers name them
    findings: tuple[Finding, ...]
    entry: dict[str, Any]
    comments: dict[str, str]
    others: dict[str, str]  # keys outside of the engine's entry, with what to write
    num_requests: int
    why_broken_off: str | None  # one line; None: all questions were asked

    @property
    def can_be_measured(self) -> bool:
        """Whether at least one of its endpoints gave a whole streamed answer."""
        return any(
            each.what.startswith("api: ") and each.outcome == "yes" for each in self.findings
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "engine": self.name,
            "base_url": self.base_url,
            "model": self.model,
            "identity": self.identity.model_dump(mode="json"),
            "answered": self.answered,
            "can_be_measured": self.can_be_measured,
            "findings": [each.as_json() for each in self.findings],
            "workload": {"engines": {self.name: self.entry}, **self.others},
            "num_requests": self.num_requests,
            "why_broken_off": self.why_broken_off,
        }
