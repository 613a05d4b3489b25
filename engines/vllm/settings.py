"""`kind: vllm` for the suite: its settings, and its start, a real `vllm serve` that is watched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Self

from pydantic import Field

from engines.api import Endpoint, PriorityUpdates, RunningEngine
from engines.context_limit import refuse_longer
from engines.errors import EngineInputError
from engines.models.model_config import PRESETS
from engines.models.model_folder import write_model_folder
from engines.priority_file import write_priorities
from engines.process import ChildProcess
from engines.separation import Server, separate
from engines.server_metrics import CounterWatch, logged_server_metrics
from engines.vllm.command import check_offloading, environment, find_executable, serve_command
from engines.vllm.plugin.fsbench_vllm.counters import read_counters
from engines.vllm.serve_settings import ServeSettings
from engines.vllm.server import GET_TIMEOUT_S, HOST, running_server

ENGINES = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class RunningVllm:
    endpoint: Endpoint
    process: ChildProcess
    version: str
    counters: CounterWatch

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def death_note(self) -> str:
        return self.process.death_note()

    def remarks(self) -> list[str]:
        remark = self.counters.remark()
        return [] if remark is None else [remark]


class VllmSettings(ServeSettings):
    """`kind: vllm`, a real `vllm serve` that is started and stopped."""

    kind: Literal["vllm"] = "vllm"
    weights_seed: int = Field(0, description="of a preset's weights")
    executable: str | None = Field(
        None,
        description="default: FSBENCH_VLLM, .venv-vllm/bin/vllm, beside fsbench's Python, or on "
        "the PATH",
    )
    num_warmup_requests: int = Field(2, ge=0, le=64)
    start_timeout_s: float = Field(600.0, gt=0, description="compiling can take minutes")
    stop_grace_s: float = Field(10.0, gt=0, description="from SIGTERM to SIGKILL")

    def resolve(self, model: str | None) -> Self:
        """Returns a copy that names the model."""
        chosen = self.model or model
        if chosen is None:
            raise EngineInputError("no model is named; set model: in the workload or the engine")
        return self.model_copy(update={"model": chosen})

    def check_longest(self, num_tokens: int) -> None:
        refuse_longer(
            num_tokens,
            {"max_context_tokens": self.max_context_tokens, "kv_tokens": self.kv_tokens},
        )

    @contextmanager
    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> Iterator[RunningEngine]:
        assert self.model is not None, "settings are resolved before they run"
        executable = find_executable(self.executable)
        check_offloading(self, executable)
        served_name = Path(self.model).name
        counters = directory / "scheduler_counters.npy"
        trace = write_priorities(directory, priorities) if self.has_plugin else None
        with _model_folder(self, directory) as folder, policies_alone(self) as policies:
            command = partial(
                serve_command,
                self,
                executable=executable,
                model_folder=folder,
                served_name=served_name,
            )
            with running_server(
                lambda port: command(port=port),
                model_folder=folder,
                log=directory / "engine.log",
                env=environment(self, priorities=trace, counters=counters, policies=policies),
                start_timeout_s=self.start_timeout_s,
                grace_s=self.stop_grace_s,
            ) as server:
                num_requests = self.num_warmup_requests
                server.warm_up(model=served_name, num_requests=num_requests)
                with logged_server_metrics(
                    directory,
                    lambda: server.get("/metrics"),
                    more=lambda: read_counters(counters),
                    where="vLLM's /metrics",
                ) as watch:
                    yield RunningVllm(
                        _endpoint(name, self, port=server.port, served_name=served_name),
                        server.process,
                        f"vLLM {server.version()}: {self.variant}",
                        watch,
                    )


def _endpoint(name: str, settings: VllmSettings, *, port: int, served_name: str) -> Endpoint:
    base_url = f"http://{HOST}:{port}/v1"
    server = Server(base_url, api_key=None, timeout_s=GET_TIMEOUT_S)
    return Endpoint(
        base_url=base_url,
        model=served_name,
        api="completions",
        prompt_form="token_ids",
        api_key=None,
        extra_body={"ignore_eos": True},
        is_fsbench=False,
        applies_priority_trace=settings.has_plugin,
        takes_priority=settings.scheduling != "fcfs" or settings.has_plugin,
        names_conversation=settings.has_plugin,
        takes_terms=settings.policy is not None,
        separation=separate(name, settings.prefix_cache, server, cache_salt=True),
    )


@contextmanager
def policies_alone(settings: VllmSettings) -> Iterator[Path | None]:
    """Yields a folder that holds `engines` and nothing else, for a policy's sake: beside it lies
    the project, or all that its environment holds, which vLLM's must not see."""
    if settings.policy is None:
        yield None
        return
    with TemporaryDirectory(prefix="fsbench-policies-") as name:
        folder = Path(name)
        (folder / "engines").symlink_to(ENGINES)
        yield folder


@contextmanager
def _model_folder(settings: VllmSettings, directory: Path) -> Iterator[Path]:
    """Yields the model's folder; a preset is written for as long as the server needs it."""
    assert settings.model is not None
    if settings.model not in PRESETS:
        yield Path(settings.model).expanduser().absolute()
        return
    folder = directory / "model"
    try:
        write_model_folder(folder, preset=settings.model, seed=settings.weights_seed)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
