"""The command line and the environment of one `vllm serve`."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engines.errors import EngineInputError
from engines.separation import Reset
from engines.vllm.serve_settings import ServeSettings

PLUGIN = Path(__file__).parent / "plugin"
_BESIDE_THE_PROJECT = Path(__file__).resolve().parents[2] / ".venv-vllm/bin/vllm"


def find_executable(configured: str | None) -> Path:
    """Returns the vllm program to start. Raises EngineInputError where there is none."""
    named = configured or os.environ.get("FSBENCH_VLLM")
    if named is not None:
        path = Path(named).expanduser().absolute()
        if not os.access(path, os.X_OK) or path.is_dir():
            source = "executable" if configured else "FSBENCH_VLLM"
            raise EngineInputError(f"{source}: {named} is no program that can be started")
        return path
    beside_python = Path(sys.executable).parent / "vllm"  # installed with fsbench[vllm]
    for path in (Path(".venv-vllm/bin/vllm").absolute(), _BESIDE_THE_PROJECT, beside_python):
        if os.access(path, os.X_OK):
            return path
    if (found := shutil.which("vllm")) is not None:
        return Path(found)
    raise EngineInputError(
        "kind vllm finds no vllm; run `make vllm` for CPUs, pip install fsbench's extra vllm for a "
        "GPU, or name one by executable: or FSBENCH_VLLM"
    )


def check_offloading(settings: ServeSettings, executable: Path) -> None:
    """Raises EngineInputError where this build can not offload: it would hang after minutes."""
    if settings.kv_offload_gib is None:
        return
    packages = executable.parent.parent.glob("lib/python*/site-packages/vllm-*+cpu*.dist-info")
    if any(packages):
        raise EngineInputError(
            f"kv_offload_gib: {executable} is a CPU build of vLLM, whose KV offloading works on "
            "GPUs only; leave kv_offload_gib out"
        )


def serve_command(
    settings: ServeSettings, *, executable: Path, model_folder: Path, served_name: str, port: int
) -> list[str]:
    return [
        str(executable),
        "serve",
        str(model_folder),
        *("--host", "127.0.0.1", "--port", str(port), "--served-model-name", served_name),
        *("--dtype", settings.dtype, "--generation-config", "vllm"),
        *_pool_flags(settings, model_folder),
        *_scheduling_flags(settings),
        *("--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
        *_given_flags(settings.args),
    ]


def _pool_flags(settings: ServeSettings, model_folder: Path) -> Iterator[str]:
    yield from ("--block-size", str(settings.block_size))
    # vLLM keeps one block for itself.
    num_blocks = settings.kv_tokens // settings.block_size + 1
    yield from ("--num-gpu-blocks-override", str(num_blocks))
    yield from ("--max-model-len", str(max_context_tokens(settings, model_folder)))
    if settings.max_batch_tokens is not None:
        yield from ("--max-num-batched-tokens", str(settings.max_batch_tokens))
    if settings.max_num_seqs is not None:
        yield from ("--max-num-seqs", str(settings.max_num_seqs))
    yield "--enable-prefix-caching" if settings.prefix_caching else "--no-enable-prefix-caching"
    if settings.kv_offload_gib is not None:
        yield from ("--kv-offloading-size", f"{settings.kv_offload_gib:g}")


def _scheduling_flags(settings: ServeSettings) -> Iterator[str]:
    is_first_come = settings.scheduling == "fcfs" and not settings.has_plugin
    yield from ("--scheduling-policy", "fcfs" if is_first_come else "priority")
    if settings.has_plugin:
        # An iteration must have ended before the plug-in decides on the next one.
        name = "scheduler.Trace" if settings.policy is None else "policy_scheduler.Policy"
        yield from ("--scheduler-cls", f"fsbench_vllm.{name}Scheduler")
        yield "--no-async-scheduling"


def max_context_tokens(settings: ServeSettings, model_folder: Path) -> int:
    """Returns what model and pool allow, unless the settings say less."""
    if settings.max_context_tokens is not None:
        return settings.max_context_tokens
    path = model_folder / "config.json"
    try:
        limit = int(json.loads(path.read_text())["max_position_embeddings"])
    except (OSError, ValueError, KeyError, TypeError):
        raise EngineInputError(
            f"{path}: gives no max_position_embeddings; name a Hugging Face model folder, or set "
            "max_context_tokens"
        ) from None
    return min(settings.kv_tokens, limit)


def _given_flags(args: dict[str, Any]) -> Iterator[str]:
    """Yields the flags of {enforce-eager: true, tensor-parallel-size: 2}: true and false stand
    alone, a mapping becomes JSON, a list several values."""
    for key, value in args.items():
        name = key.lstrip("-").replace("_", "-")
        if isinstance(value, bool):
            yield f"--{name}" if value else f"--no-{name}"
            continue
        yield f"--{name}"
        if isinstance(value, dict):
            yield json.dumps(value)
        elif isinstance(value, list):
            yield from map(str, value)
        else:
            yield str(value)


def environment(
    settings: ServeSettings, *, priorities: Path | None, counters: Path, policies: Path | None
) -> dict[str, str]:
    """Returns the variables that are added to this process's own; `policies`: a folder from which
    the project's policies can be imported, and nothing else of it."""
    given = {
        # Nothing is fetched and nothing is told to anybody.
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_HOST_IP": "127.0.0.1",
        # GiB that a CPU build sets aside; what is used of it is given in blocks.
        "VLLM_CPU_KVCACHE_SPACE": os.environ.get("VLLM_CPU_KVCACHE_SPACE", "1"),
    }
    if isinstance(settings.prefix_cache, Reset):
        given["VLLM_SERVER_DEV_MODE"] = "1"  # else it has no such endpoint
    if settings.has_plugin:
        paths = [PLUGIN, policies, os.environ.get("PYTHONPATH")]
        search_path = os.pathsep.join(str(each) for each in paths if each)
        given |= {"PYTHONPATH": search_path, "FSBENCH_COUNTERS": str(counters)}
        if priorities is not None:
            given["FSBENCH_PRIORITIES"] = str(priorities)
        if settings.policy is not None:
            given["FSBENCH_POLICY"] = settings.policy.model_dump_json()
    return {**given, **settings.env}
