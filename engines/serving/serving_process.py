"""An engine that serves in a process of its own: what it is told, its start, where it is asked."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from engines.api import Endpoint, RunningEngine
from engines.errors import EngineError, EngineInputError
from engines.process import INPUT_ERROR, ChildProcess, child_process, end_with_parent

START_TIMEOUT_S = 300.0


class ServingConfig(BaseModel):
    """What the process is told, whatever the kind; each kind adds its settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = 0  # 0 = a free one, told in the ready file
    model_name: str  # as clients call it
    api_key_env: str | None = None
    ready_file: Path | None = None
    log_directory: Path | None = None  # gets the engine's logs, see engine_logs.py
    priorities: Path | None = None
    has_lifeline: bool = False

    def command(self, module: str) -> list[str]:
        """Returns the command that starts the process."""
        config = self.model_dump_json(by_alias=True)
        return [sys.executable, "-m", module, "--config", config]


Config = TypeVar("Config", bound=ServingConfig)


@dataclass(frozen=True, slots=True)
class RunningServer:
    endpoint: Endpoint
    process: ChildProcess
    version: str | None = None  # the project's own

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def death_note(self) -> str:
        return self.process.death_note()

    def remarks(self) -> list[str]:
        return []  # its own logs tell


@contextmanager
def serving_process(argv: list[str], config: ServingConfig) -> Iterator[RunningEngine]:
    """Starts the process, waits until it serves, and on leaving stops it. Raises EngineError."""
    ready_file, directory = config.ready_file, config.log_directory
    assert ready_file is not None and directory is not None, config
    with child_process(argv, log=directory / "engine.log") as process:
        process.wait_until(ready_file.exists, timeout_s=START_TIMEOUT_S)
        port = json.loads(ready_file.read_text())["port"]
        yield RunningServer(_endpoint(config.model_name, port), process)
        ready_file.unlink()


def _endpoint(model_name: str, port: int) -> Endpoint:
    return Endpoint(
        base_url=f"http://127.0.0.1:{port}/v1",
        model=model_name,
        api="completions",
        prompt_form="token_ids",
        api_key=None,
        extra_body={},
        is_fsbench=True,
        applies_priority_trace=True,
        takes_priority=True,
        takes_terms=True,
    )


def process_main(module: str, config_type: type[Config], run: Callable[[Config], None]) -> int:
    """Runs, on the process's own side, what the command line tells. Returns the exit status: 0 told
    to stop, 1 the engine died, INPUT_ERROR the settings can not work (one line says why)."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}")
    parser.add_argument("--config", metavar="JSON", required=True)
    config = config_type.model_validate_json(parser.parse_args().config)
    if config.has_lifeline:
        end_with_parent()
    try:
        run(config)
    except EngineInputError as error:
        print(error, file=sys.stderr)
        return INPUT_ERROR
    except EngineError as error:
        print(error, file=sys.stderr)
        return 1
    return 0
