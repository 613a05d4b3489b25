"""Do fsbench's figures of real servers agree with an independent client's, and with the packets?

    python -m benchmarks.servers_tried --venvs DIR [--servers llama.cpp vLLM …] [--rounds 5]

One stream, one model (the shipped preset `tiny-llama`, seed 0, float32, one thread) on each
server. In each round fsbench plays conversations of one turn against it, and a client of another
kind (a blocking socket, `plain_client.py`) asks as many questions of the same shape; who is first
changes from round to round. Meanwhile tcpdump writes the packets on the loopback, which are put
together again (`wire.py`), so that each instant that either saw can be held against the packet that
brought it, and each figure against the same one of the packets. On a busy machine the two clients'
figures differ by what was going on meanwhile; a client's and its own packets' do not. Needs root
for tcpdump.

DIR holds one environment a server: `python3 -m venv DIR/llama-cpp`, and in it `pip install
xllamacpp`; `DIR/transformers`: `'transformers[serving]' torch`; `DIR/litellm`: `'litellm[proxy]'`.
A real vLLM is found as `kind: vllm` finds it (`make vllm`).
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.results import print_table, write_result
from benchmarks.servers_tried.launch import SERVERS, Tried
from benchmarks.servers_tried.plain_client import Timed, ask
from benchmarks.servers_tried.wire import OnTheWire, answers, captured, real_less_monotonic_s
from engines.models.model_folder import write_model_folder
from engines.openai import OpenAISettings
from suite.doctor.server import examine_server
from suite.driver.words import WORDS
from suite.playing.runner import run
from suite.playing.workload import load_workload
from suite.records.progress import Progress
from suite.records.run_directory import Trial
from suite.records.turn_records import TurnRecord, read_started_at, read_turns

NUM_PROMPT_WORDS = 64
MODEL_SEED = 0


class Quiet:
    def on_trial_start(self, engine: str, repeat: int) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, trial: Trial) -> None: ...


def figures(answers: Sequence[Timed]) -> dict[str, float]:
    """Returns medians over answers, seconds; TPOT without the first token."""
    ttft = [each.token_at[0] - each.sent_at for each in answers]
    e2e = [each.token_at[-1] - each.sent_at for each in answers]
    tpot = [
        (each.token_at[-1] - each.token_at[0]) / (each.num_tokens - 1)
        for each in answers
        if each.num_tokens > 1
    ]
    named = {"ttft_s": ttft, "tpot_s": tpot, "e2e_s": e2e}
    return {name: float(np.median(values)) for name, values in named.items()}


def play_fsbench(
    tried: Tried, folder: Path, args: argparse.Namespace, round_no: int
) -> list[Timed]:
    """Returns the turns of a run, one stream."""
    workload = {
        "name": "tried",
        "seed": 100 + round_no,
        "conversations": {
            "source": "fixed",
            "count": args.answers,
            "turns": 1,
            "prompt_tokens": NUM_PROMPT_WORDS,
            "output_tokens": args.tokens,
        },
        "arrivals": {"process": "closed", "concurrency": 1},
        "users": {"all": {"share": 1.0, "slo": {"ttft": "10s", "tbt": "1s", "attainment": 0.9}}},
        "engines": {
            "tried": {
                "kind": "openai",
                "base_url": tried.base_url,
                "api": "chat",
                "prefix_cache": "shared",  # no words before a prompt: both ask for as many
                **tried.engine,
            }
        },
    }
    path = folder / "tried.yaml"
    path.write_text(json.dumps(workload))
    outcome = run(load_workload(path), root=folder, num_workers=1, observer=Quiet())
    turns = outcome.directory / "tried/1/turns.parquet"
    started_at = read_started_at(turns)
    records = read_turns(turns)
    failed = [each.error for each in records if each.error]
    if failed or started_at is None:
        raise SystemExit(f"fsbench's turns failed: {failed or outcome.manifest.trials}")
    return [_timed(each, started_at) for each in records]


def _timed(record: TurnRecord, started_at: float) -> Timed:
    assert record.sent_at is not None and record.done_at is not None, record
    return Timed(
        sent_at=started_at + record.sent_at,
        token_at=tuple(started_at + at for at in record.token_at),
        done_at=started_at + record.done_at,
        num_tokens=record.num_output_tokens or sum(record.tokens_per_chunk),
    )


def ask_plainly(tried: Tried, args: argparse.Namespace, round_no: int) -> list[Timed]:
    found = []
    rng = np.random.default_rng(1_000 + round_no)
    for _ in range(args.answers):
        words = " ".join(WORDS[place] for place in rng.integers(len(WORDS), size=NUM_PROMPT_WORDS))
        body: dict[str, Any] = {
            "model": tried.engine.get("model", "tiny-llama"),
            "messages": [{"role": "user", "content": words}],
            "max_tokens": args.tokens,
            "temperature": 0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if tried.engine.get("ignore_eos", True):
            body["ignore_eos"] = True
        found.append(ask(tried.port, "/v1/chat/completions", body, tried.key))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What a client saw, held against the packets of the same answers."""

    late_s: dict[str, list[float]]  # by how much later each was seen than it stood on the wire
    wire: dict[str, float]  # the figures of the packets


def held_against(seen: Sequence[Timed], wire: Sequence[OnTheWire]) -> Held:
    late: dict[str, list[float]] = {"token": [], "ttft": [], "sent": []}
    mine = []
    for each in seen:
        packets = min(wire, key=lambda answer: abs(answer.asked_at - each.sent_at))
        if len(packets.token_at) != len(each.token_at):
            raise SystemExit(
                f"{len(each.token_at)} chunks were seen, {len(packets.token_at)} stood on the wire"
            )
        late["token"] += np.subtract(each.token_at, packets.token_at).tolist()
        ttft = each.token_at[0] - each.sent_at
        late["ttft"].append(ttft - (packets.token_at[0] - packets.asked_at))
        late["sent"].append(packets.asked_at - each.sent_at)
        mine.append(
            Timed(
                sent_at=packets.asked_at,
                token_at=packets.token_at,
                done_at=packets.token_at[-1],
                num_tokens=each.num_tokens,
            )
        )
    return Held(late_s=late, wire=figures(mine))


def spread(values: Sequence[float]) -> dict[str, float]:
    return {
        "median": float(np.median(values)),
        "least": float(np.min(values)),
        "most": float(np.max(values)),
    }


def summarised(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns figures over rounds, and their ratio round by round: neighbours in time."""
    found: dict[str, Any] = {}
    for name in ("ttft_s", "tpot_s", "e2e_s"):
        mine = [each["fsbench"][name] for each in rounds]
        others = [each["plain"][name] for each in rounds]
        found[name] = {
            "fsbench": spread(mine),
            "plain": spread(others),
            "ratio": spread(np.divide(mine, others).tolist()),
            "fsbench_to_wire": spread([_to_wire(each, "fsbench", name) for each in rounds]),
            "plain_to_wire": spread([_to_wire(each, "plain", name) for each in rounds]),
        }
    for who in ("fsbench", "plain"):
        late = {
            name: [value for each in rounds for value in each["held"][who].late_s[name]]
            for name in ("token", "ttft", "sent")
        }
        found[f"{who}_less_wire_s"] = {
            name: {
                "num": len(values),
                "p50": float(np.median(values)),
                "p99": float(np.quantile(values, 0.99)),
                "most": float(np.max(np.abs(values))),
            }
            for name, values in late.items()
        }
    return found


def _to_wire(each: dict[str, Any], who: str, name: str) -> float:
    """Returns a client's figure over that of its own answers' packets."""
    return float(each[who][name] / each["held"][who].wire[name])


def try_server(name: str, args: argparse.Namespace, model: Path, work: Path) -> dict[str, Any]:
    with SERVERS[name](args.venvs, model, work) as tried:
        entry = {"base_url": tried.base_url, "api": "chat", **tried.engine}
        settings = OpenAISettings.model_validate(entry)
        examined = examine_server("tried", settings, timeout_s=60.0)
        rounds = list(_rounds(tried, args, work))
    return {
        "server": name,
        "versions": tried.versions,
        "told": examined.identity.text,
        "answered": (examined.answered or "").replace(f"{model.parent}/", "") or None,
        "findings": {each.what: each.outcome for each in examined.findings},
        **summarised(rounds),
    }


def _rounds(tried: Tried, args: argparse.Namespace, work: Path) -> Iterator[dict[str, Any]]:
    ask_plainly(tried, argparse.Namespace(answers=2, tokens=args.tokens), -1)  # warm-up
    for number in range(args.rounds):
        capture = work / f"round-{number}.pcap"
        seen: dict[str, list[Timed]] = {}
        offset_s = real_less_monotonic_s()
        with captured(tried.port, capture):
            for who in ("fsbench", "plain") if number % 2 == 0 else ("plain", "fsbench"):
                if who == "plain":
                    seen[who] = ask_plainly(tried, args, number)
                else:
                    with tempfile.TemporaryDirectory(dir=work) as folder:
                        seen[who] = play_fsbench(tried, Path(folder), args, number)
        offset_s = (offset_s + real_less_monotonic_s()) / 2
        wire = answers(capture, tried.port, offset_s=offset_s)
        capture.unlink()
        held = {who: held_against(timed, wire) for who, timed in seen.items()}
        yield {**{who: figures(timed) for who, timed in seen.items()}, "held": held}


@contextmanager
def written_model(work: Path) -> Iterator[Path]:
    folder = work / "tiny-llama"
    write_model_folder(folder, preset="tiny-llama", seed=MODEL_SEED)
    yield folder


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--venvs", type=Path, required=True)
    parser.add_argument("--servers", nargs="+", choices=list(SERVERS), default=list(SERVERS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--answers", type=int, default=8, help="of each client, in each round")
    parser.add_argument("--tokens", type=int, default=48, help="of each answer")
    parser.add_argument("--out", type=Path, help="default: benchmarks/results")
    args = parser.parse_args()
    args.venvs = args.venvs.absolute()
    return args


def show(results: list[dict[str, Any]]) -> None:
    rows = []
    for each in results:
        for name, label in (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("e2e_s", "E2E")):
            mine, plain, ratio = (each[name][who] for who in ("fsbench", "plain", "ratio"))
            to_wire = each[name]["fsbench_to_wire"]
            rows.append(
                (
                    f"{each['server']} {label}",
                    f"{mine['median'] * 1e3:.2f}",
                    f"{plain['median'] * 1e3:.2f}",
                    f"{ratio['median']:.3f}",
                    f"{ratio['least']:.3f}–{ratio['most']:.3f}",
                    f"{to_wire['least']:.5f}–{to_wire['most']:.5f}",
                    f"{each['fsbench_less_wire_s']['token']['p50'] * 1e6:.0f}",
                    f"{each['plain_less_wire_s']['token']['p50'] * 1e6:.0f}",
                )
            )
    header = (
        "",
        "fsbench, ms",
        "plain, ms",
        "ratio",
        "spread",
        "to its packets",
        "to wire, µs",
        "plain, µs",
    )
    print_table(header, rows)


def main() -> None:
    args, began_at = arguments(), time.monotonic()
    results = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        with written_model(work) as model:
            for server in args.servers:
                results.append(try_server(server, args, model, work))
                print(f"{server}: {time.monotonic() - began_at:.0f} s", flush=True)
    show(results)
    settings = {
        "servers": args.servers,
        "rounds": args.rounds,
        "answers": args.answers,
        "tokens": args.tokens,
        "prompt_words": NUM_PROMPT_WORDS,
    }
    print(write_result("servers_tried", settings=settings, results=results, folder=args.out))


if __name__ == "__main__":
    main()
