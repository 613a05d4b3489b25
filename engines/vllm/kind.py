"""`kind: vllm` for the suite: a real `vllm serve`, started, watched and stopped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engines.api import Endpoint, EngineSettings, PriorityUpdates, RunningEngine
from engines.context_limit import refuse_longer
from engines.models.model_config import PRESETS
from engines.models.model_folder import write_model_folder
from engines.priority_file import write_priorities
from engines.process import ChildProcess
from engines.server_metrics import logged_server_metrics
from engines.vllm.command import check_offloading, environment, find_executable, serve_command
from engines.vllm.plugin.fsbench_vllm.counters import read_counters
from engines.vllm.server import HOST, running_server
from engines.vllm.settings import VllmSettings


@dataclass(frozen=True, slots=True)
class RunningVllm:
    endpoint: Endpoint
    process: ChildProcess
    version: str

    def is_alive(self) -> bool:
        return self.process.is_alive()

    def death_note(self) -> str:
        return self.process.death_note()


class VllmKind:
    settings_type = VllmSettings

    def resolve(self, settings: EngineSettings, model: str | None) -> VllmSettings:
        assert isinstance(settings, VllmSettings)
        return settings.resolved(model)

    def check_longest(self, settings: EngineSettings, num_tokens: int) -> None:
        assert isinstance(settings, VllmSettings)
        refuse_longer(
            num_tokens,
            {"max_context_tokens": settings.max_context_tokens, "kv_tokens": settings.kv_tokens},
        )

    @contextmanager
    def running(
        self,
        settings: EngineSettings,
        *,
        name: str,
        model: str | None,
        directory: Path,
        priorities: PriorityUpdates | None,
    ) -> Iterator[RunningEngine]:
        resolved = self.resolve(settings, model)
        assert resolved.model is not None
        executable = find_executable(resolved.executable)
        check_offloading(resolved, executable)
        served_name = Path(resolved.model).name
        counters = directory / "scheduler_counters.npy"
        is_traced = resolved.scheduling == "trace"
        trace = write_priorities(directory, priorities) if is_traced else None
        with _model_folder(resolved, directory) as folder:

            def command(port: int) -> list[str]:
                return serve_command(
                    resolved,
                    executable=executable,
                    model_folder=folder,
                    served_name=served_name,
                    port=port,
                )

            with running_server(
                command,
                name=name,
                model_folder=folder,
                log=directory / "engine.log",
                env=environment(resolved, priorities=trace, counters=counters),
                start_timeout_s=resolved.start_timeout_s,
                grace_s=resolved.stop_grace_s,
            ) as server:
                num_requests = resolved.num_warmup_requests
                server.warm_up(model=served_name, num_requests=num_requests, name=name)
                with logged_server_metrics(
                    directory,
                    lambda: server.get("/metrics"),
                    more=lambda: read_counters(counters),
                ):
                    yield RunningVllm(
                        _endpoint(resolved, port=server.port, served_name=served_name),
                        server.process,
                        f"vLLM {server.version()}: {resolved.variant}",
                    )


def _endpoint(settings: VllmSettings, *, port: int, served_name: str) -> Endpoint:
    has_plugin = settings.scheduling == "trace"
    return Endpoint(
        base_url=f"http://{HOST}:{port}/v1",
        model=served_name,
        api="completions",
        prompt_form="token_ids",
        api_key=None,
        extra_body={"ignore_eos": True},
        is_fsbench=False,
        applies_priority_trace=has_plugin,
        takes_priority=settings.scheduling != "fcfs",
        names_conversation=has_plugin,
    )


@contextmanager
def _model_folder(settings: VllmSettings, directory: Path) -> Iterator[Path]:
    """A preset is written for as long as the server needs it."""
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
