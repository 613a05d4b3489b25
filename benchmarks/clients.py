"""Other load generators at `fsbench serve`: do they run to their end, and do they see what it says?

    make vllm && python -m benchmarks.clients [--guidellm PATH]

`vllm bench serve` (and guidellm, where an environment has it) ask the embedded engine's server the
same kind of load: 128 random prompt tokens, 64 answer tokens, so many at a time. Beside a client's
mean TTFT and time per token stand those of the server's own histograms over the same requests,
which run from a request's arrival in the server to its last token: the difference is the client's
bias and the way between.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from benchmarks.results import print_table, write_result
from engines.errors import EngineInputError
from engines.models.model_folder import write_model_folder
from engines.process import ChildProcess
from engines.vllm.command import find_executable
from engines.vllm.server import free_port

MODEL = "tiny-llama"
PROMPT_TOKENS, OUTPUT_TOKENS = 128, 64
NUM_AT_A_TIME, NUM_REQUESTS = 8, 32
QUIET = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """Means over the requests that succeeded."""

    num_requests: int
    ttft_s: float
    tpot_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Totals of the server's histograms."""

    num_requests: float
    ttft_s: float
    e2e_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--guidellm", type=Path, default=Path(".venv-guidellm/bin/guidellm"))
    guidellm: Path = parser.parse_args().guidellm
    results: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        folder = directory / MODEL
        write_model_folder(folder, preset=MODEL, seed=0)
        with served(directory) as port:
            for client, command, read in clients(folder, directory, port, guidellm):
                results.append(compare(client, command, read, directory, port))
    show(results)
    settings = {
        "prompt_tokens": PROMPT_TOKENS,
        "output_tokens": OUTPUT_TOKENS,
        "num_at_a_time": NUM_AT_A_TIME,
        "num_requests": NUM_REQUESTS,
    }
    write_result("clients", settings=settings, results=results)


@contextmanager
def served(directory: Path) -> Iterator[int]:
    port = free_port()
    command = [sys.executable, "-m", "suite.cli", "serve", MODEL, "--port", str(port)]
    server = ChildProcess(command, log=directory / "server.log", env=None)
    try:
        server.wait_until(lambda: is_up(port), timeout_s=120.0)
        yield port
    finally:
        server.stop()


def is_up(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
    except OSError:
        return False
    return True


def clients(
    folder: Path, directory: Path, port: int, guidellm: Path
) -> Iterator[tuple[str, list[str], Any]]:
    """(name and version, command, how to read its result)."""
    url = f"http://127.0.0.1:{port}"
    try:
        vllm = find_executable(None)
    except EngineInputError as none:
        print(f"vllm bench serve is left out: {none}", file=sys.stderr)
    else:
        path = directory / "vllm.json"
        command = [str(vllm), "bench", "serve", "--backend", "openai", "--base-url", url]
        command += ["--model", MODEL, "--tokenizer", str(folder), "--dataset-name", "random"]
        command += ["--random-input-len", str(PROMPT_TOKENS), "--ignore-eos"]
        command += ["--random-output-len", str(OUTPUT_TOKENS), "--num-prompts", str(NUM_REQUESTS)]
        command += ["--max-concurrency", str(NUM_AT_A_TIME), "--save-result"]
        command += ["--result-dir", str(directory), "--result-filename", path.name]
        yield f"vllm bench serve {version_of(vllm, 'vllm')}", command, lambda: read_vllm(path)
    if guidellm.exists():
        path = directory / "guidellm.json"
        command = [str(guidellm.absolute()), "run", "--disable-console-interactive"]
        command += ["--backend", f"kind=openai_http,target={url},model={MODEL}"]
        command += ["--profile", f"kind=concurrent,streams={NUM_AT_A_TIME}"]
        command += ["--constraint", f"kind=max_requests,count={NUM_REQUESTS}"]
        command += ["--tokenizer", f"kind=huggingface_auto,model={folder}"]
        command += [
            "--data",
            f"kind=synthetic_text,prompt_tokens={PROMPT_TOKENS},output_tokens={OUTPUT_TOKENS}",
        ]
        command += ["--output", f"kind=json,path={path}"]
        name = f"guidellm {version_of(guidellm, 'guidellm')}"
        yield name, command, lambda: read_guidellm(path)


def version_of(program: Path, distribution: str) -> str:
    code = f"import importlib.metadata as m; print(m.version({distribution!r}))"
    command = [str(program.parent.absolute() / "python"), "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def compare(
    client: str, command: Sequence[str], read: Any, directory: Path, port: int
) -> dict[str, Any]:
    before, began_at = totals(port), time.monotonic()
    log = directory / "client.log"
    with log.open("wb") as output:
        environment = {**QUIET, "PATH": "/usr/bin:/bin", "HOME": str(directory)}
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, env=environment, check=False
        )
    if done.returncode:
        raise SystemExit(f"{client} ended with {done.returncode}:\n{log.read_text()[-2000:]}")
    after, seen = totals(port), read()
    num_requests = after.num_requests - before.num_requests
    ttft_s = (after.ttft_s - before.ttft_s) / num_requests
    e2e_s = (after.e2e_s - before.e2e_s) / num_requests
    return {
        "client": client,
        "duration_s": time.monotonic() - began_at,
        "client_saw": asdict(seen),
        "server_says": asdict(
            Seen(
                num_requests=int(num_requests),
                ttft_s=ttft_s,
                tpot_s=(e2e_s - ttft_s) / (OUTPUT_TOKENS - 1),
            )
        ),
    }


def totals(port: int) -> Totals:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as reply:
        page = reply.read().decode()
    values = {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.endswith(("_sum", "_count"))
    }
    return Totals(
        num_requests=values["vllm:time_to_first_token_seconds_count"],
        ttft_s=values["vllm:time_to_first_token_seconds_sum"],
        e2e_s=values["vllm:e2e_request_latency_seconds_sum"],
    )


def read_vllm(path: Path) -> Seen:
    result = json.loads(path.read_text())
    return Seen(
        num_requests=result["completed"],
        ttft_s=result["mean_ttft_ms"] / 1e3,
        tpot_s=result["mean_tpot_ms"] / 1e3,
    )


def read_guidellm(path: Path) -> Seen:
    (benchmark,) = json.loads(path.read_text())["benchmarks"]
    metrics = benchmark["metrics"]
    return Seen(
        num_requests=metrics["request_totals"]["successful"],
        ttft_s=metrics["time_to_first_token_ms"]["successful"]["mean"] / 1e3,
        tpot_s=metrics["inter_token_latency_ms"]["successful"]["mean"] / 1e3,
    )


def show(results: Sequence[dict[str, Any]]) -> None:
    rows = []
    for result in results:
        for side in ("client_saw", "server_says"):
            seen = result[side]
            name = result["client"] if side == "client_saw" else "  the server says"
            ttft, tpot = (f"{seen[key] * 1e3:.1f}" for key in ("ttft_s", "tpot_s"))
            rows.append((name, seen["num_requests"], ttft, tpot))
    print_table(("client", "requests", "mean TTFT ms", "mean TPOT ms"), rows)


if __name__ == "__main__":
    main()
