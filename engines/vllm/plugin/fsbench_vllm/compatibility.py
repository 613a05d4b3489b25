"""What the scheduler plug-in uses of vLLM and vLLM promises to nobody: looked for at start.

A name that has gone would show in the middle of a run, or not at all where it is assigned to.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from operator import attrgetter

TESTED = (0, 32)  # the version that `make test-vllm` runs
OLDEST = (0, 20)  # whose scheduler has these names, as far as reading tells
NAMES = (
    "running",
    "waiting.pop_request",
    "waiting.add_request",
    "requests",
    "prev_step_scheduled_req_ids.discard",
    "max_num_running_reqs",
    "block_size",
    "kv_cache_config.kv_cache_groups",
    "kv_cache_manager.get_blocks",
    "kv_cache_manager.block_pool.get_num_free_blocks",
    "_preempt_request",
)
POLICY_NAMES = (*NAMES, "max_num_scheduled_tokens", "update_from_output", "_free_request")


def check(scheduler: object, version: str, names: Sequence[str] = NAMES) -> str | None:
    """Returns a remark on a version nobody has tried, None for others. Raises RuntimeError, in one
    line: the plug-in can not work with this vLLM."""
    number = _number(version)
    if number is not None and number < OLDEST:
        raise RuntimeError(
            f"the fsbench scheduler needs vLLM {_shown(OLDEST)} or newer, got {version};"
            " install one, or run without scheduling: trace"
        )
    missing = [name for name in names if not _has(scheduler, name)]
    if missing:
        raise RuntimeError(
            f"the fsbench scheduler finds no {', '.join(missing)} in the scheduler of vLLM"
            f" {version} (tested with {_shown(TESTED)}); take that version, or run without"
            " scheduling: trace"
        )
    if not _takes_a_time(scheduler):
        raise RuntimeError(
            f"the fsbench scheduler calls _preempt_request(request, time), which vLLM {version}"
            f" does not know so (tested with {_shown(TESTED)}); take that version"
        )
    if number == TESTED:
        return None
    return f"the fsbench scheduler was tested with vLLM {_shown(TESTED)}, this is {version}"


def _takes_a_time(scheduler: object) -> bool:
    try:
        inspect.signature(attrgetter("_preempt_request")(scheduler)).bind(None, 0.0)
    except TypeError:
        return False
    return True


def _has(scheduler: object, name: str) -> bool:
    try:
        attrgetter(name)(scheduler)
    except AttributeError:
        return False
    return True


def _number(version: str) -> tuple[int, int] | None:
    """None for a build that names no version, such as one from a working copy."""
    parts = version.split(".")[:2]
    if len(parts) < 2 or not all(part.isdigit() for part in parts):
        return None
    return int(parts[0]), int(parts[1])


def _shown(number: tuple[int, int]) -> str:
    return ".".join(map(str, number))
