"""What one driver process is told: a JSON file, and in the environment the endpoint, which holds
keys and is written nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from engines.api import Endpoint
from suite.driver.wording import Wording

ENDPOINT_VARIABLE = "FSBENCH_ENDPOINT"
_ENDPOINT = TypeAdapter(Endpoint)


class WorkerConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    role: Literal["alone", "master", "worker"]
    plan_path: Path
    shard_path: Path  # the worker's own turns, appended to while it runs
    worker: int  # takes conversation i where i mod num_workers == worker
    num_workers: int
    turn_timeout_s: float
    wording: Wording | None = None  # of prompts in place of token ids
    link_fd: int  # the worker's end of the link to the process that started it
    parent_pid: int

    def write(self, path: Path) -> None:
        path.write_text(self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> WorkerConfig:
        return cls.model_validate_json(path.read_text())


def endpoint_as_text(endpoint: Endpoint) -> str:
    return _ENDPOINT.dump_json(endpoint, by_alias=True).decode()


def endpoint_of_text(text: str) -> Endpoint:
    return _ENDPOINT.validate_json(text)
