"""A YAML mapping from a file, with `--set` overrides laid over it."""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import yaml

from workloads.errors import WorkloadError


class _StrictLoader(yaml.SafeLoader):
    """Refuses what YAML would settle in silence: a key that stands twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":  # `<<: *anchor`, meant to be overridden
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                problem = f"key {key!r} stands here a second time"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",  # YAML 1.1 would read 1e-3, without a dot, as text
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)


def read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise WorkloadError(f"{path}: no such workload file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"{path}: can not be read: {error}") from None
    raw = _parsed(text, str(path))
    if not isinstance(raw, dict):
        raise WorkloadError(f"{path}: must be a mapping (key: value), got {_kind(raw)}")
    return raw


def apply_overrides(raw: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A new mapping. A relative trace path that is set here is meant from the current directory."""
    changed = copy.deepcopy(raw)
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator or not key.strip():
            raise WorkloadError(f"--set {override}: must be KEY=VALUE, e.g. arrivals.rate=2")
        value = _parsed(text, f"--set {override}")
        _set(changed, key.strip(), value, override)
        if key.strip() in ("conversations", "conversations.path"):
            _from_current_directory(changed["conversations"])
    return changed


def _parsed(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_StrictLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f":{mark.line + 1}" if mark and not where.startswith("--set") else ""
        raise WorkloadError(f"{where}{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise WorkloadError(f"{where}: not YAML: {str(error).splitlines()[0]}") from None


def _set(container: Any, key: str, value: Any, override: str) -> None:
    """Walk down `key`; a name that holds dots itself (`vllm-0.3`) is found where it exists."""
    where = f"--set {override}"
    while True:
        if not isinstance(container, dict):
            raise WorkloadError(f"{where}: {key!r} can not be set inside {_kind(container)}")
        names = [str(name) for name in container if f"{key}.".startswith(f"{name}.")]
        name = max(names, key=len) if names else key.partition(".")[0]
        rest = key[len(name) + 1 :]
        if not rest:
            container[name] = value
            return
        container = container.setdefault(name, {})
        key = rest


def _from_current_directory(conversations: Any) -> None:
    path = conversations.get("path") if isinstance(conversations, dict) else None
    if isinstance(path, str) and path:
        conversations["path"] = str(Path(path).expanduser().absolute())


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(value)
