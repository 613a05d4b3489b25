"""The parts of a plan: conversations of turns, user classes with SLOs, priorities over time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile

import numpy as np
import numpy.typing as npt

TokenIds = npt.NDArray[np.int32]
TOOLS_ROLE = (
    "tools"  # a message that defines tools, as JSON: it goes with each request from then on
)
FRONT_ROLES = frozenset({TOOLS_ROLE, "system", "developer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of several that a turn adds. Its tokens are the next `num_tokens` of the turn's
    new prompt."""

    role: str  # system, user, tool, …, or TOOLS_ROLE
    num_tokens: int
    text: str | None = None  # None: its tokens are all that is known
    fields: str | None = None  # a JSON object of what stands beside role and content
    joins_answer: bool = False  # its fields (tool calls) are put to the answer before it


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One question and its answer. The history before it is not stored: the driver rebuilds it."""

    new_prompt_token_ids: TokenIds  # shape [num_new_prompt_tokens]; what the user adds in this turn
    prompt_text: str | None  # the user's words, where the source has any; text wins over ids
    num_output_tokens: int  # the answer's length; engines are asked for exactly this many
    think_time_s: float  # from the end of the previous answer to this turn; 0 for the first
    messages: tuple[Message, ...] = ()  # where it is more than one user message; no text then
    replaces_system: bool = False  # its system messages take the place of those at the front
    waits_for_branches: bool = False  # asked once all that branched off before it have ended

    @property
    def front(self) -> tuple[Message, ...]:
        """Returns the messages that it begins with of those that a server puts to the front."""
        return tuple(takewhile(lambda each: each.role in FRONT_ROLES, self.messages))

    @property
    def num_front_tokens(self) -> int:
        return sum(each.num_tokens for each in self.front)

    def spans(self) -> Iterator[tuple[Message, TokenIds]]:
        """Yields each message with its part of the token ids."""
        start = 0
        for message in self.messages:
            yield message, self.new_prompt_token_ids[start : start + message.num_tokens]
            start += message.num_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """Says what a conversation branches off from: it begins when that turn has been answered, after
    its own first turn's think time."""

    conversation_id: str
    turn: int
    keeps_history: bool  # it goes on from all that was said until then; else it starts from nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    conversation_id: str
    user_id: str
    user_class: str
    start_at_s: float  # seconds after the run's start; in closed mode only the order counts
    turns: tuple[Turn, ...]
    branch: Branch | None = None  # None: it begins at start_at_s; else that is its origin's

    @property
    def keeps_history(self) -> bool:
        """Returns whether something was said before its first turn."""
        return self.branch is not None and self.branch.keeps_history


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What a user was promised. A turn attains it when its latencies are inside."""

    ttft_s: float
    tbt_s: float
    tbt_percentile: float  # which percentile of the turn's gaps is held against tbt_s, 0–1
    attainment_ratio: float  # the share of a user's turns that must attain, 0–1
    max_gap_s: float | None = None  # the longest any gap of a turn may be; None = no such promise


@dataclass(frozen=True, slots=True, kw_only=True)
class UserClass:
    name: str
    share_ratio: float
    slo: Slo


class PriorityPattern(StrEnum):
    RANDOM = "random"
    MARKOV = "markov"
    STATIC = "static"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorityTrace:
    """Priorities over time, computed offline. Smaller is more urgent, as in vLLM's API.

    Row k holds from update k on; after the last row the trace starts again. An engine whose
    iterations we can see makes update k at iteration k / update_frequency; for any other engine
    it happens k · update_interval_s after the run's start.
    """

    pattern: PriorityPattern
    num_levels: int
    update_frequency: float  # updates per engine iteration; 0 = the first row holds for ever
    update_interval_s: float  # the same for engines that show no iterations; 0 = never
    levels: npt.NDArray[np.uint8]  # shape [num_updates, num_conversations], plan order

    def level_at(self, conversation: int, elapsed_ns: int) -> int:
        """Returns the level of the plan's n-th conversation, by the time since the run's start."""
        row = 0
        if self.update_interval_s > 0:
            row = elapsed_ns // round(self.update_interval_s * 1e9) % len(self.levels)
        return int(self.levels[row, conversation])


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something that was cut, skipped or estimated on the way to the plan, and how often."""

    what: str
    count: int
