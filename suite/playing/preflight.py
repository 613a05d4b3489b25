"""Checks before anything is started or built: what a workload asks for that can be known to
fail."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psutil

from engines.api import EngineSettings
from engines.errors import EngineInputError
from workloads.arrivals import TOO_DENSE
from workloads.build import build_plan
from workloads.errors import WorkloadError
from workloads.extent import wanted_conversations
from workloads.plan import Plan
from workloads.spec import WorkloadSpec

NUM_UNQUESTIONED = 100_000  # conversations; more are weighed first
NUM_WEIGHED = 500
OBJECT_BYTES = 600  # of each turn and each conversation, beside its tokens


def check_files(engines: Mapping[str, EngineSettings], where: Path) -> None:
    """Raises WorkloadError where a file that an engine names (its model, certificates) can be seen
    to be missing; reads no weights."""
    for name, settings in engines.items():
        try:
            settings.check_files()
        except EngineInputError as error:
            raise WorkloadError(f"{where}: engines.{name}: {error}") from None


def unheard_priorities(spec: WorkloadSpec, engines: Mapping[str, EngineSettings]) -> list[str]:
    """Returns a sentence for each place whose priorities nobody will know of."""
    if spec.priorities.pattern == "none":
        named = [name for name, each in spec.users.items() if each.priority is not None]
        if not named:
            return []
        return [f"users.{named[0]}.priority is not used without priorities: {{pattern: static}}"]
    return [
        f"engine {name!r} is sent no priorities; {settings.unheard_priorities}"
        for name, settings in engines.items()
        if settings.unheard_priorities is not None
    ]


def doubts(plan: Plan) -> list[str]:
    """Returns a sentence for each place where the file may mean something else than it says."""
    return [f"{each.count:,} {each.what}" for each in plan.notes if each.what == TOO_DENSE]


def check_size(spec: WorkloadSpec, base_directory: Path) -> None:
    """Refuses a plan of more conversations than fit into this machine, judged by the first of them.

    Raises WorkloadError.
    """
    wanted = wanted_conversations(spec)
    count = wanted.count
    if count is None or count <= NUM_UNQUESTIONED:
        return
    few = spec.conversations.model_copy(update={"count": NUM_WEIGHED, "duration": None})
    each = plan_bytes(build_plan(spec.model_copy(update={"conversations": few}), base_directory))
    each //= NUM_WEIGHED
    memory = psutil.virtual_memory().total
    if count * each > memory // 2:  # the records and the engine need the rest
        raise WorkloadError(
            f"{wanted.why or 'conversations.count'} {count:,}: the plan alone would take about "
            f"{count * each / 1024**3:,.0f} GiB ({each / 1024:.1f} KiB a conversation) of this "
            f"machine's {memory / 1024**3:.0f} GiB; ask for {memory // 2 // each:,} at most, or "
            "run several seeds"
        )


def plan_bytes(plan: Plan) -> int:
    """Returns about how much memory the plan takes."""
    turns = [turn for each in plan.conversations for turn in each.turns]
    tokens = sum(turn.new_prompt_token_ids.nbytes for turn in turns)
    return tokens + OBJECT_BYTES * (len(turns) + len(plan.conversations))
