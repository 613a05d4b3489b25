"""Starts each server that is tried, in an environment of its own, on a free loopback port."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.servers_tried.gguf_file import write_gguf
from engines.vllm.server import free_port
from engines.vllm.settings import VllmSettings

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 15.0
HERE = Path(__file__).parent
GATEWAY_KEY = "sk-servers-tried-on-loopback-0123456789"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A server that runs: where, which version, and how fsbench is told of it."""

    base_url: str
    versions: dict[str, str]
    engine: dict[str, Any]  # the entry under `engines:` without kind and URL
    key: str | None = None
    wire_ports: tuple[int, ...] = field(default=())

    @property
    def port(self) -> int:
        return int(self.base_url.rsplit(":", 1)[1].split("/")[0])


@contextmanager
def llama_cpp(venvs: Path, model: Path, work: Path) -> Iterator[Tried]:
    python, gguf = venvs / "llama-cpp/bin/python", work / "tiny-llama.gguf"
    if not gguf.exists():
        write_gguf(model, gguf)
    port = free_port()
    argv = [str(python), str(HERE / "llama_cpp_server.py"), str(gguf), str(port), "tiny-llama"]
    with _running(argv, port, work / "llama-cpp.log", is_ready=_answers("/health")):
        yield Tried(
            base_url=_base_url(port),
            versions=_versions(python, "xllamacpp"),
            engine={"metrics_url": f"http://127.0.0.1:{port}/metrics"},
        )


@contextmanager
def transformers_serve(venvs: Path, model: Path, work: Path) -> Iterator[Tried]:
    python, port = venvs / "transformers/bin/python", free_port()
    argv = [str(python.with_name("transformers")), "serve", str(model), "--host", "127.0.0.1"]
    argv += ["--port", str(port), "--device", "cpu", "--dtype", "float32"]
    env = {**ONE_THREAD, "HF_HUB_OFFLINE": "1"}
    with _running(argv, port, work / "transformers.log", env, is_ready=_answers("/health")):
        yield Tried(
            base_url=_base_url(port),
            versions=_versions(python, "transformers", "torch"),
            engine={"model": str(model), "ignore_eos": False},
        )


@contextmanager
def litellm(venvs: Path, model: Path, work: Path) -> Iterator[Tried]:
    """LiteLLM's proxy in front of llama.cpp."""
    python = venvs / "litellm/bin/python"
    with llama_cpp(venvs, model, work) as behind:
        port, config = free_port(), work / "litellm.yaml"
        to = {"model": "openai/tiny-llama", "api_base": behind.base_url, "api_key": "none"}
        route = {"model_name": "tiny-llama", "litellm_params": to}
        config.write_text(json.dumps({"model_list": [route]}))
        argv = [str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"]
        argv += ["--port", str(port), "--telemetry", "False"]
        env = {"LITELLM_MASTER_KEY": GATEWAY_KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        ready = _answers("/health/liveliness")
        with _running(argv, port, work / "litellm.log", env, is_ready=ready):
            os.environ["SERVERS_TRIED_KEY"] = GATEWAY_KEY
            yield Tried(
                base_url=_base_url(port),
                versions={**_versions(python, "litellm"), **behind.versions},
                engine={"api_key_env": "SERVERS_TRIED_KEY"},
                key=GATEWAY_KEY,
            )


@contextmanager
def vllm(venvs: Path, model: Path, work: Path) -> Iterator[Tried]:
    """A real vLLM for CPUs, started as `kind: vllm` does it, then attached to."""
    del venvs  # found as `kind: vllm` finds it
    settings = VllmSettings(
        kv_tokens=8192, scheduling="fcfs", model=str(model), args={"enforce-eager": True}
    ).resolve(None)
    directory = work / "vllm"
    directory.mkdir(exist_ok=True)
    with settings.running(name="vllm", directory=directory, priorities=None) as engine:
        assert engine.version is not None
        base_url = engine.endpoint.base_url
        yield Tried(
            base_url=base_url,
            versions={"vllm": engine.version},
            engine={"metrics_url": base_url.removesuffix("/v1") + "/metrics"},
        )


Launch = Callable[[Path, Path, Path], Any]
SERVERS: dict[str, Launch] = {
    "llama.cpp": llama_cpp,
    "transformers serve": transformers_serve,
    "LiteLLM": litellm,
    "vLLM": vllm,
}


@contextmanager
def _running(
    argv: list[str],
    port: int,
    log: Path,
    env: dict[str, str] | None = None,
    *,
    is_ready: Callable[[int], bool],
) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, env={**os.environ, **(env or {})}, cwd=log.parent
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{argv[0]} did not start; see {log}")
            time.sleep(0.3)
        yield
    finally:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(path: str) -> Callable[[int], bool]:
    def is_ready(port: int) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2.0) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    return is_ready


def _base_url(port: int) -> str:
    return f"http://127.0.0.1:{port}/v1"


def _versions(python: Path, *distributions: str) -> dict[str, str]:
    code = "import importlib.metadata as m, sys; print(*(m.version(d) for d in sys.argv[1:]))"
    done = subprocess.run(
        [str(python), "-c", code, *distributions], capture_output=True, text=True, check=True
    )
    return dict(zip(distributions, done.stdout.split(), strict=True))
