"""A workload file as it was read, with what is laid over it; nothing of it is checked yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workloads.yaml_file import Setting, lay_over, parse_overrides, read_yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSource:
    """Holds all there is to know but the traces, so that it can be sent to other processes."""

    path: Path  # begins messages; its folder is where relative trace paths start
    raw: dict[str, Any]  # `settings` applied
    settings: tuple[Setting, ...]

    def having(self, *settings: Setting) -> WorkloadSource:
        """Returns a source with more laid over it."""
        return WorkloadSource(
            path=self.path,
            raw=lay_over(self.raw, settings),
            settings=(*self.settings, *settings),
        )

    def without_matrix(self) -> WorkloadSource:
        raw = {key: value for key, value in self.raw.items() if key != "matrix"}
        return WorkloadSource(path=self.path, raw=raw, settings=self.settings)


def read_source(path: Path, overrides: Sequence[str] = ()) -> WorkloadSource:
    """Reads the file and lays the `--set` overrides over it. Raises WorkloadError, one line."""
    source = WorkloadSource(path=path, raw=read_yaml(path), settings=())
    return source.having(*parse_overrides(overrides))
