"""A YAML mapping from a file, and settings laid over it by `--set` or by a sweep's cell."""

from __future__ import annotations

import copy
import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
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
    except OSError as error:
        raise WorkloadError(f"{path}: can not be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise WorkloadError(f"{path}: not UTF-8 text at byte {error.start}") from None
    raw = _parsed(text, str(path))
    if not isinstance(raw, dict):
        raise WorkloadError(f"{path}: must be a mapping (key: value), got {_kind(raw)}")
    return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value to be laid over the file's."""

    key: str  # dots separate names; `*` stands for every name there is
    value: Any
    where: str  # begins a message about it, e.g. `--set arrivals.rate=2`

    def covers(self, key: str) -> bool:
        """Returns whether `key` is what is set here, or inside it."""
        names = (".+" if name == "*" else re.escape(name) for name in self.key.split("."))
        return re.fullmatch(r"\.".join(names) + r"(\..*)?", key) is not None


def parse_overrides(overrides: Sequence[str]) -> list[Setting]:
    """Returns the settings of `--set`. A relative trace path that is set there is meant from the
    current directory."""
    settings = []
    for override in overrides:
        key, separator, text = override.partition("=")
        key, where = key.strip(), f"--set {override}"
        if not separator or not key:
            raise WorkloadError(f"{where}: must be KEY=VALUE, e.g. arrivals.rate=2")
        value = _parsed(text, where)
        if key == "conversations":
            _from_current_directory(value)
        elif key == "conversations.path" and isinstance(value, str) and value:
            value = _absolute(value)
        settings.append(Setting(key=key, value=value, where=where))
    return settings


def lay_over(raw: dict[str, Any], settings: Sequence[Setting]) -> dict[str, Any]:
    """Returns a new mapping with the settings in it."""
    changed = copy.deepcopy(raw)
    for setting in settings:
        container, key = changed, setting.key
        if key.startswith("matrix."):  # whose own keys are dotted
            container, key = changed.setdefault("matrix", {}), key.removeprefix("matrix.")
            if isinstance(container, dict):
                container[key] = setting.value
                continue
        _set(container, key, setting)
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


def _set(container: Any, key: str, setting: Setting) -> None:
    """Walks down `key` and sets the value; a name that holds dots itself (`vllm-0.3`) is found
    where it exists."""
    while True:
        if not isinstance(container, dict):
            raise WorkloadError(
                f"{setting.where}: {key!r} can not be set inside {_kind(container)}"
            )
        if key == "*" or key.startswith("*."):
            for name in container:
                _set(container, f"{name}{key[1:]}", setting)
            return
        names = [str(name) for name in container if f"{key}.".startswith(f"{name}.")]
        name = max(names, key=len) if names else key.partition(".")[0]
        rest = key[len(name) + 1 :]
        if not rest:
            container[name] = copy.deepcopy(setting.value)
            return
        container = container.setdefault(name, {})
        key = rest


def _from_current_directory(conversations: Any) -> None:
    path = conversations.get("path") if isinstance(conversations, dict) else None
    if isinstance(path, str) and path:
        conversations["path"] = _absolute(path)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else repr(value)
