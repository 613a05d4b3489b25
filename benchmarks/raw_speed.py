"""How fast is the embedded engine beside what this machine could do, and where does a step go?

    python -m benchmarks.raw_speed [--threads 1]

tiny-llama (float32) behind the whole engine core: 1, 8 and 32 requests with contexts of 512 tokens
decode together; one prompt of 512 tokens is prefilled in one chunk. The floor is measured in the
same run, with as many threads:

    decode   max(weight and KV bytes / bandwidth, FLOPs / rate), each byte read once a step
    prefill  the same; the weights' bytes once

bandwidth: summing 256 MB; rate: a product of square matrices of 1,024. Both are the fastest of many
tries, a step is the median: on a machine with other work the ratio says too little of the engine.

Parts of a step, by clocks around the calls: `products` (weights), `gather` (KV out of the blocks; a
view where they are neighbours), `attention`, `write` (KV into the blocks), `plan` (which rows read
which blocks), `sampling`, `bookkeeping` (the engine's core in Python), `other` (norms, rotary
embedding, additions, index tensors).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F

from benchmarks.results import print_table, write_result
from engines.core.engine import Engine
from engines.core.request import Request
from engines.core.sampling_params import SamplingParams
from engines.core.settings import PRESETS, CoreSettings
from engines.core.step_log import StepRecord
from engines.embedded.devices import attention, model, torch_device
from engines.embedded.devices.loading import load_model
from engines.embedded.devices.matrix import Matrix
from engines.embedded.devices.model import Decoder
from engines.embedded.devices.torch_device import TorchDevice
from engines.embedded.devices.weights import num_parameters
from engines.models.model_config import ModelConfig

BATCHES = (1, 8, 32)
CONTEXT_TOKENS = 512
BLOCK_SIZE = 16
FLOAT_BYTES = 4
PARTS: dict[str, tuple[Any, str]] = {
    "products": (Matrix, "__call__"),
    "gather": (attention, "gather"),
    "attention": (F, "scaled_dot_product_attention"),
    "write": (model, "write_kv"),
    "plan": (torch_device, "plan_attention"),
    "sampling": (torch_device, "sample"),
}


Sample = tuple[StepRecord, dict[str, float]]  # a step, and where its time went


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    bytes_per_s: float
    flops: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    case: str
    num_requests: int
    step_s: float
    floor_s: float
    tokens_per_s: float
    part_s: dict[str, float]  # means


def measure_machine() -> Machine:
    numbers = torch.ones(64 * 2**20)
    matrix = torch.randn(1024, 1024)
    return Machine(
        bytes_per_s=numbers.numel() * FLOAT_BYTES / fastest(numbers.sum),
        flops=2 * 1024**3 / fastest(lambda: matrix @ matrix),
    )


def fastest(call: Callable[[], object], num_tries: int = 12) -> float:
    return min(seconds(call) for _ in range(num_tries))


def seconds(call: Callable[[], object]) -> float:
    began_at = time.perf_counter()
    call()
    return time.perf_counter() - began_at


def floor_s(config: ModelConfig, machine: Machine, *, num_rows: int, num_context: int) -> float:
    """Returns the least time that a step can take: bytes over bandwidth, or products over FLOP/s.

    `num_context` counts the tokens whose KV is read. The head is counted for every decoded row.
    """
    embedding = config.vocab_size * config.hidden_size
    num_weights = num_parameters(config) - embedding
    kv_values = 2 * config.num_layers * config.num_kv_heads * config.head_dim
    num_bytes = (num_weights + num_context * kv_values) * FLOAT_BYTES
    return max(num_bytes / machine.bytes_per_s, 2 * num_weights * num_rows / machine.flops)


@contextmanager
def clocks() -> Iterator[dict[str, float]]:
    """Seconds spent in each of PARTS while it is open."""
    spent = dict.fromkeys(PARTS, 0.0)
    with ExitStack() as stack:
        for part, (module, name) in PARTS.items():
            clocked = _clocked(getattr(module, name), spent, part)
            stack.enter_context(patch.object(module, name, clocked))
        yield spent


def _clocked(call: Callable[..., Any], spent: dict[str, float], part: str) -> Callable[..., Any]:
    def clocked(*args: Any, **kwargs: Any) -> Any:
        began_at = time.perf_counter()
        result = call(*args, **kwargs)
        spent[part] += time.perf_counter() - began_at
        return result

    return clocked


class Bench:
    """An engine whose requests have their whole context, ready to decode."""

    def __init__(self, decoder: Decoder, preset: str, num_requests: int, num_steps: int) -> None:
        # Twice what is needed: block groups are cut short where memory is.
        num_blocks = 2 * (CONTEXT_TOKENS // BLOCK_SIZE + 4) * num_requests
        core = CoreSettings(
            mechanisms=PRESETS[preset],
            block_size=BLOCK_SIZE,
            kv_tokens=num_blocks * BLOCK_SIZE,
            swap_tokens=BLOCK_SIZE,
            max_batch_tokens=CONTEXT_TOKENS + num_requests,
            max_num_seqs=num_requests + 1,
            group_tokens=CONTEXT_TOKENS + 2 * BLOCK_SIZE,
        )
        self.rows: list[StepRecord] = []
        self.num_requests = num_requests
        self.device = TorchDevice(
            decoder,
            block_size=BLOCK_SIZE,
            num_device_blocks=core.num_device_blocks,
            num_host_blocks=core.num_host_blocks,
            copy="merged",
        )
        self.engine = Engine(core, self.device, clock=time.perf_counter, on_step=self.rows.append)
        for number in range(num_requests):
            self.submit(f"r{number}", num_requests + num_steps + 1)
        # Not a count of all tokens: the first to be prefilled decode while the others wait.
        having: set[str] = set()
        while len(having) < num_requests:
            having |= {each.request_id for each in self.engine.step()}

    def submit(self, name: str, num_tokens: int) -> None:
        self.engine.submit(
            Request(
                request_id=name,
                prompt_token_ids=[300 + i % 5000 for i in range(CONTEXT_TOKENS)],
                sampling=SamplingParams(max_tokens=num_tokens, ignore_eos=True),
                arrived_at=0.0,
            )
        )

    def step(self) -> Sample:
        with clocks() as spent:
            self.engine.step()
        row = self.rows[-1]
        spent["bookkeeping"] = row.duration_s - row.execute_s
        spent["other"] = row.duration_s - sum(spent.values())
        return row, spent


def measure(decoder: Decoder, machine: Machine, num_rounds: int) -> list[Row]:
    presets = {"paged": "vllm-0.3", "block_group": "fastswitch"}
    warm = 3
    benches = {
        (allocator, size): Bench(decoder, preset, size, num_rounds + warm + 1)
        for size in BATCHES
        for allocator, preset in presets.items()
    }
    samples: dict[tuple[str, int], list[Sample]] = {}
    for number in range(num_rounds + warm):
        for key, bench in benches.items():
            sample = bench.step()
            if number >= warm:
                samples.setdefault(key, []).append(sample)
    prefills = [_prefill(decoder, number) for number in range(max(3, num_rounds // 4))][1:]
    rows = [
        _row(
            f"decode {allocator}",
            size,
            taken,
            num_rows=size,
            floor_s=floor_s(
                decoder.config, machine, num_rows=size, num_context=size * CONTEXT_TOKENS
            ),
        )
        for (allocator, size), taken in samples.items()
    ]
    prefill_floor_s = floor_s(decoder.config, machine, num_rows=CONTEXT_TOKENS, num_context=0)
    rows.append(_row("prefill", 1, prefills, num_rows=CONTEXT_TOKENS, floor_s=prefill_floor_s))
    for bench in benches.values():
        bench.device.close()
    return rows


def _prefill(decoder: Decoder, number: int) -> Sample:
    bench = Bench(decoder, "fastswitch", 1, 2)
    bench.engine.abort("r0")
    bench.submit(f"p{number}", 1)
    return bench.step()


def _row(
    case: str, num_requests: int, samples: Sequence[Sample], *, num_rows: int, floor_s: float
) -> Row:
    step_s = statistics.median(row.duration_s for row, _ in samples)
    return Row(
        case=case,
        num_requests=num_requests,
        step_s=step_s,
        floor_s=floor_s,
        tokens_per_s=num_rows / step_s,
        part_s={
            name: statistics.mean(spent[name] for _, spent in samples) for name in samples[0][1]
        },
    )


def show(rows: list[Row]) -> None:
    parts = list(rows[0].part_s)
    print_table(
        ["case", "requests", "tokens/s", "step ms", "floor ms", "x floor", *parts],
        [
            [
                row.case,
                row.num_requests,
                f"{row.tokens_per_s:.0f}",
                f"{row.step_s * 1e3:.1f}",
                f"{row.floor_s * 1e3:.1f}",
                f"{row.step_s / row.floor_s:.2f}",
                *(f"{row.part_s[part] / sum(row.part_s.values()):.0%}" for part in parts),
            ]
            for row in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="torch's")
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--model", default="tiny-llama")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    machine = measure_machine()
    rows = measure(load_model(args.model, dtype="float32", seed=0).decoder, machine, args.rounds)
    show(rows)
    if not args.dry:
        settings = {
            "threads": args.threads,
            "rounds": args.rounds,
            "model": args.model,
            "context_tokens": CONTEXT_TOKENS,
            "floor": asdict(machine),
        }
        print(write_result("raw_speed", settings=settings, results=[asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
