"""What one driver process is told, as a JSON file. The API key travels in the environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from engines.api import Endpoint

API_KEY_VARIABLE = "FSBENCH_API_KEY"


class WorkerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["alone", "master", "worker"]
    plan_path: Path
    shard_path: Path  # the worker's own turns, appended to while it runs
    worker: int  # takes conversation i where i mod num_workers == worker
    num_workers: int
    endpoint: Endpoint  # without its key
    turn_timeout_s: float
    link_fd: int  # the worker's end of the link to the process that started it
    parent_pid: int

    def write(self, path: Path) -> None:
        assert self.endpoint.api_key is None, "the key would be left on disk"
        path.write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path, *, api_key: str | None) -> WorkerConfig:
        config = cls.model_validate_json(path.read_text())
        endpoint = replace(config.endpoint, api_key=api_key)
        return config.model_copy(update={"endpoint": endpoint})
