"""The `matrix:` of a workload file: settings swept over values, and the names of the cells."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from workloads.errors import WorkloadError
from workloads.source import WorkloadSource
from workloads.yaml_file import Setting

MAX_CELLS = 1000
MAX_NAME_CHARACTERS = 200  # a cell's name is a folder's
MAX_TEXT_CHARACTERS = 40
NOT_SWEPT = ("name", "matrix")
_TEXT = re.compile(r"[A-Za-z0-9+][A-Za-z0-9._+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One setting with the values it takes in turn."""

    key: str  # as in the file, e.g. engines.*.kv_tokens
    label: str  # the end of it that no other axis has, e.g. kv_tokens
    values: tuple[Any, ...]
    value_names: tuple[str, ...]  # distinct, fit for a folder's name

    def __post_init__(self) -> None:
        assert len(set(self.value_names)) == len(self.values), self


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One combination: one run."""

    name: str  # e.g. rate=1.0,seed=2
    values: dict[str, Any]  # by the axis's key
    source: WorkloadSource  # with these values, and no matrix


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    axes: tuple[Axis, ...]
    cells: tuple[Cell, ...]  # in the file's order, the last axis changing fastest


def read_matrix(source: WorkloadSource) -> Matrix | None:
    """Returns the cells of a file with `matrix:`, None without. Whether a setting exists and takes
    such a value is seen when the cell's spec is read. Raises WorkloadError, one line."""
    raw = source.raw.get("matrix")
    if raw is None or raw == {}:
        return None
    if not isinstance(raw, dict):
        raise WorkloadError(f"{source.path}: matrix must be a mapping (key: list), got {raw!r:.80}")
    for key, values in raw.items():
        _check(source, str(key), values)
    num_cells = math.prod(len(values) for values in raw.values())
    if num_cells > MAX_CELLS:
        sizes = " × ".join(str(len(values)) for values in raw.values())
        raise WorkloadError(
            f"{source.path}: matrix must have no more than {MAX_CELLS:,} cells, got {sizes} = "
            f"{num_cells:,}; sweep fewer values, or in several files"
        )
    axes = tuple(
        Axis(key=key, label=label, values=tuple(raw[key]), value_names=value_names(raw[key]))
        for key, label in axis_labels([str(key) for key in raw]).items()
    )
    return Matrix(axes=axes, cells=tuple(_cells(source, axes)))


def axis_labels(keys: Sequence[str]) -> dict[str, str]:
    """Returns a short label for each key: its last name, or where several keys end so, more of
    it."""
    labels = {}
    for key in keys:
        ends = [key.rpartition(".")[2], key.partition(".")[2], key]
        others = [other for other in keys if other != key]
        free = (end for end in ends if not any(f".{other}".endswith(f".{end}") for other in others))
        labels[key] = next(free, key).replace("*", "all")
    return labels


def value_names(values: Sequence[Any]) -> tuple[str, ...]:
    """Returns the values as in the file; where one is no folder's name, variant1, variant2, …"""
    is_float = any(isinstance(value, float) for value in values)
    names = []
    for value in values:
        if isinstance(value, bool):
            names.append(str(value).lower())
        elif isinstance(value, int | float):
            names.append(repr(float(value)) if is_float else str(value))
        elif isinstance(value, str) and _TEXT.fullmatch(value):
            names.append(value)
    are_short = all(len(name) <= MAX_TEXT_CHARACTERS for name in names)
    if are_short and len(names) == len(values) == len(set(names)):
        return tuple(names)
    return tuple(f"variant{number}" for number in range(1, len(values) + 1))


def _check(source: WorkloadSource, key: str, values: Any) -> None:
    where = f"{source.path}: matrix.{key}"
    if key.partition(".")[0] in NOT_SWEPT:
        raise WorkloadError(f"{where} can not be swept; remove it")
    if not isinstance(values, list) or not values:
        raise WorkloadError(f"{where} must be a list of one or more values, got {values!r:.80}")
    counts = Counter(map(repr, values))
    twice = next((value for value, count in counts.items() if count > 1), None)
    if twice is None and len({_number(value) for value in values}) < len(values):
        twice = repr(values)  # 1 and 1.0
    if twice is not None:
        raise WorkloadError(f"{where} must have each value once, got {twice} twice or more")
    swept = Setting(key=key, value=None, where="")
    for setting in source.settings:
        if swept.covers(setting.key) and not setting.key.startswith("matrix"):
            raise WorkloadError(
                f"{setting.where}: would have no effect, {source.path} sweeps matrix.{key}; "
                f"set matrix.{key}=[…] instead, or matrix={{}} for no sweep"
            )


def _number(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else repr(value)


def _cells(source: WorkloadSource, axes: Sequence[Axis]) -> Iterator[Cell]:
    base = source.without_matrix()
    for picked in itertools.product(*(range(len(axis.values)) for axis in axes)):
        chosen = list(zip(axes, picked, strict=True))
        name = ",".join(f"{axis.label}={axis.value_names[i]}" for axis, i in chosen)
        if len(name) > MAX_NAME_CHARACTERS:
            raise WorkloadError(
                f"{source.path}: matrix gives cells names of {len(name)} characters, e.g. "
                f"{name[:40]}…, at most {MAX_NAME_CHARACTERS}; sweep fewer settings at a time"
            )
        settings = [
            Setting(
                key=axis.key,
                value=axis.values[i],
                where=f"{source.path}: matrix.{axis.key} = {axis.values[i]!r:.80}",
            )
            for axis, i in chosen
        ]
        yield Cell(
            name=name,
            values={axis.key: axis.values[i] for axis, i in chosen},
            source=base.having(*settings),
        )
