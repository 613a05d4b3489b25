"""The plan: all the randomness of a workload, spent once, before any engine is started.

Every engine gets this same value, so that two runs differ by the engine alone. Two plans are the
same work exactly when their `digest` is the same; `compare` and `gate` insist on it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from workloads.errors import PlanFileError
from workloads.plan_digest import plan_digest
from workloads.plan_parts import (
    Branch,
    Conversation,
    Message,
    Note,
    PriorityPattern,
    PriorityTrace,
    Slo,
    TokenIds,
    Turn,
    UserClass,
)


@dataclass(frozen=True)
class Plan:
    """What every engine will be asked, and by whom."""

    name: str
    seed: int
    user_classes: tuple[UserClass, ...]
    conversations: tuple[Conversation, ...]  # ordered by start_at_s
    closed_concurrency: int | None  # None = open loop at the planned instants
    priorities: PriorityTrace | None
    closed_duration_s: float | None = None  # a closed loop asks no more turns from then on
    notes: tuple[Note, ...] = ()  # kept in the plan's file, not part of the digest

    @cached_property
    def digest(self) -> str:
        """Returns the SHA-256 of the work, 64 hex digits; plan_digest.py says what is in it."""
        return plan_digest(
            seed=self.seed,
            closed_concurrency=self.closed_concurrency,
            closed_duration_s=self.closed_duration_s,
            user_classes=self.user_classes,
            conversations=self.conversations,
            priorities=self.priorities,
        )

    @property
    def num_turns(self) -> int:
        return sum(len(conversation.turns) for conversation in self.conversations)

    @property
    def num_new_prompt_tokens(self) -> int:
        """Returns how many tokens users add; the history that is sent again with each turn is not
        counted."""
        return sum(turn.new_prompt_token_ids.size for turn in self._turns())

    @property
    def num_output_tokens(self) -> int:
        return sum(turn.num_output_tokens for turn in self._turns())

    def write(self, path: Path) -> None:
        """Writes Parquet: one row a turn, what concerns the whole plan in the schema's metadata."""
        table = pa.table(_columns(self.conversations, self.priorities))
        header = json.dumps(_header(self)).encode()
        pq.write_table(
            table.replace_schema_metadata({HEADER_KEY: header}), path, compression="zstd"
        )

    @staticmethod
    def read(path: Path) -> Plan:
        """Returns exactly what was written; the digest is checked. Raises PlanFileError."""
        header, table = _read_table(path)
        plan = _plan(header, table)
        if plan.digest != header["digest"]:
            raise PlanFileError(
                f"{path}: content does not match its digest {header['digest'][:12]}, "
                f"got {plan.digest[:12]}; the file was changed or damaged"
            )
        return plan

    def _turns(self) -> Iterator[Turn]:
        for conversation in self.conversations:
            yield from conversation.turns


PLAN_FILE_VERSION = 1
HEADER_KEY = b"fsbench_plan"


def _header(plan: Plan) -> dict[str, Any]:
    trace = plan.priorities
    return {
        "schema_version": PLAN_FILE_VERSION,
        "digest": plan.digest,
        "name": plan.name,
        "seed": plan.seed,
        "closed_concurrency": plan.closed_concurrency,
        "closed_duration_s": plan.closed_duration_s,
        "user_classes": [asdict(user_class) for user_class in plan.user_classes],
        "notes": [asdict(note) for note in plan.notes],
        "priorities": None
        if trace is None
        else {
            "pattern": trace.pattern.value,
            "num_levels": trace.num_levels,
            "update_frequency": trace.update_frequency,
            "update_interval_s": trace.update_interval_s,
            "num_updates": trace.levels.shape[0],
        },
    }


def _columns(
    conversations: tuple[Conversation, ...], priorities: PriorityTrace | None
) -> dict[str, Any]:
    """Returns the file's columns. A conversation's own values stand on each of its rows, its levels
    on the first one only."""
    rows = [(k, i) for k, c in enumerate(conversations) for i in range(len(c.turns))]
    of = [conversations[k] for k, _ in rows]
    turns = [conversations[k].turns[i] for k, i in rows]
    prompts = [turn.new_prompt_token_ids for turn in turns]
    levels = [None if i or priorities is None else priorities.levels[:, k] for k, i in rows]
    return {
        "conversation_id": pa.array([c.conversation_id for c in of], pa.string()),
        "user_id": pa.array([c.user_id for c in of], pa.string()),
        "user_class": pa.array([c.user_class for c in of], pa.string()),
        "start_at_s": pa.array([c.start_at_s for c in of], pa.float64()),
        "turn": pa.array([i for _, i in rows], pa.int32()),
        "new_prompt_token_ids": pa.array(prompts, pa.list_(pa.int32())),
        "prompt_text": pa.array([turn.prompt_text for turn in turns], pa.string()),
        "num_output_tokens": pa.array([turn.num_output_tokens for turn in turns], pa.int32()),
        "think_time_s": pa.array([turn.think_time_s for turn in turns], pa.float64()),
        "priority_levels": pa.array(levels, pa.list_(pa.uint8())),
        "branch": pa.array([_branch_json(c) for c in of], pa.string()),
        "more": pa.array([_more_json(turn) for turn in turns], pa.string()),
    }


def _more_json(turn: Turn) -> str | None:
    """Returns what most turns have nothing of; None for those."""
    if not turn.messages and not turn.waits_for_branches:
        return None
    said = [asdict(each) for each in turn.messages]
    return json.dumps({"messages": said} | {name: getattr(turn, name) for name in TURN_FLAGS})


def _branch_json(conversation: Conversation) -> str | None:
    return None if conversation.branch is None else json.dumps(asdict(conversation.branch))


TURN_FLAGS = ("replaces_system", "waits_for_branches")


def _read_table(path: Path) -> tuple[dict[str, Any], Any]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise PlanFileError(f"{path}: no such plan file") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PlanFileError(f"{path}: not a readable plan file: {reason}") from None
    header = json.loads((table.schema.metadata or {}).get(HEADER_KEY, b"{}"))
    if header.get("schema_version") != PLAN_FILE_VERSION:
        raise PlanFileError(
            f"{path}: plan schema_version must be {PLAN_FILE_VERSION}, "
            f"got {header.get('schema_version')}; write the plan again with this fsbench"
        )
    return header, table


def _plan(header: Mapping[str, Any], table: Any) -> Plan:
    conversations, levels = _conversations(table)
    return Plan(
        name=header["name"],
        seed=header["seed"],
        user_classes=tuple(
            UserClass(**{**entry, "slo": Slo(**entry["slo"])}) for entry in header["user_classes"]
        ),
        conversations=conversations,
        closed_concurrency=header["closed_concurrency"],
        closed_duration_s=header.get("closed_duration_s"),
        priorities=_priorities(header["priorities"], levels),
        notes=tuple(Note(**note) for note in header["notes"]),
    )


def _priorities(
    header: Mapping[str, Any] | None, levels: list[npt.NDArray[np.uint8]]
) -> PriorityTrace | None:
    if header is None:
        return None
    return PriorityTrace(
        pattern=PriorityPattern(header["pattern"]),
        num_levels=header["num_levels"],
        update_frequency=header["update_frequency"],
        update_interval_s=header["update_interval_s"],
        levels=np.stack(levels, axis=1, dtype=np.uint8),
    )


def _conversations(
    table: Any,
) -> tuple[tuple[Conversation, ...], list[npt.NDArray[np.uint8]]]:
    """Returns the conversations and, for each that has them, its priority levels in plan order."""
    prompts = [ids.values.to_numpy() for ids in table["new_prompt_token_ids"]]
    levels = [ids.values.to_numpy() for ids in table["priority_levels"] if ids.is_valid]
    rows = table.drop_columns(["new_prompt_token_ids", "priority_levels"]).to_pylist()
    starts = [k for k, row in enumerate(rows) if row["turn"] == 0]
    conversations = []
    for start, stop in pairwise([*starts, len(rows)]):
        turns = tuple(_turn(rows[k], prompts[k]) for k in range(start, stop))
        own = {key: rows[start][key] for key in CONVERSATION_COLUMNS}
        branch = json.loads(rows[start].get("branch") or "null")
        conversations.append(
            Conversation(**own, turns=turns, branch=None if branch is None else Branch(**branch))
        )
    return tuple(conversations), levels


CONVERSATION_COLUMNS = ("conversation_id", "user_id", "user_class", "start_at_s")


def _turn(row: Mapping[str, Any], prompt: TokenIds) -> Turn:
    more = json.loads(row.get("more") or "{}")  # older files have no such column
    return Turn(
        new_prompt_token_ids=prompt,
        prompt_text=row["prompt_text"],
        num_output_tokens=row["num_output_tokens"],
        think_time_s=row["think_time_s"],
        messages=tuple(Message(**each) for each in more.get("messages", ())),
        **{name: more.get(name, False) for name in TURN_FLAGS},
    )
