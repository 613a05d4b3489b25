"""Equal arms on a server with a prefix cache: does any trial find what another has left there?

    python -m benchmarks.cache_isolation

One server that keeps its cache all the time (`suite/driver/caching_server.py`: 100 ms to the first
token of a prompt it knows, 500 ms of one of 100 tokens it does not) is both engines of every run,
by each way to keep trials apart: words as text and as token ids, a `cache_salt` (the server says
that it is a vLLM), a reset. For each of them a plain run, a rerun of the same plan with `--solo`,
one of two repeats, and a sweep of two rates; every run, cell and the rerun against the plain run
is an A/A test. As a control the plain run once more with `prefix_cache: shared`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.results import print_table, write_result
from suite.driver.caching_server import RESET_PATH, command
from suite.driver.calibrate import running_server
from suite.judging.run_comparison import compare_runs
from suite.records.run_directory import SOLO_FOLDER, Manifest
from suite.records.turn_records import read_turns

Json = dict[str, Any]
PACE = {"first_after_s": 0.1, "s_per_token": 0.004, "gap_s": 0.02}
NUM_CONVERSATIONS, NUM_PROMPT = 12, 100
RATES = (8.0, 16.0)
GATES = ["slo.users_within_slo_ratio >= 0.5", "ttft.mean <= 0.8 * baseline"]
IDS = {"prompts": "token_ids", "extra_body": {"return_token_ids": True}}
# How trials are kept apart: the engine's settings, and the server's behaviour.
MODES: Mapping[str, tuple[Json, Json]] = {
    "words": ({}, {}),
    "words, token ids": (IDS, {}),
    "cache_salt": ({}, {"says_vllm": True}),
    "reset": ({"prefix_cache": {"reset": f"POST {RESET_PATH}"}}, {}),
}
SHARED: tuple[Json, Json] = ({"prefix_cache": "shared"}, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One A/A test."""

    mode: str
    kind: str  # plain, rerun, solo, repeats, sweep
    num_parts: int
    num_warm_turns: int
    num_turns: int
    is_isolated: bool
    users_within_ratio: tuple[float, float]  # before, after
    ttft_mean_s: tuple[float, float]
    slowdown_mean: float | None
    verdicts: dict[str, int]
    gates: list[str]


def main() -> None:
    began_at = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        rows = [row for mode, how in MODES.items() for row in measure(Path(folder), mode, *how)]
        control = next(measure(Path(folder), "shared", *SHARED))
    print(f"{len(rows)} A/A tests in {time.monotonic() - began_at:.0f} s")
    show([*rows, control])
    settings = {
        **PACE,
        "num_conversations": NUM_CONVERSATIONS,
        "num_prompt_tokens": NUM_PROMPT,
        "rates": RATES,
        "gates": GATES,
    }
    called = sum((Counter(row.verdicts) for row in rows), Counter[str]())
    results = {
        "num_tests": len(rows),
        "num_warm_turns": sum(row.num_warm_turns for row in rows),
        "num_differences_called": called["better"] + called["worse"],
        "tests": [asdict(row) for row in rows],
        "control": asdict(control),
    }
    print(write_result("cache_isolation", settings=settings, results=results))


def measure(folder: Path, mode: str, engine: Json, behaviour: Json) -> Iterator[Row]:
    """On one server, which is ended in the end."""
    home = folder / mode.replace(", ", "-").replace(" ", "-")
    home.mkdir()
    with running_server([sys.executable, *command(home, **PACE, **behaviour)], home) as port:
        engine = {"kind": "openai", "base_url": f"http://127.0.0.1:{port}/v1", **engine}
        plain = played(home / "plain", engine)
        yield row(mode, "plain", plain)
        rerun = played(home / "rerun", engine, "--solo")
        yield row(mode, "solo", rerun)
        comparison = compare_runs([f"{plain}:before", f"{rerun}:after"])
        yield row(mode, "rerun", rerun, verdicts_of(comparison["comparisons"]), other=plain)
        yield row(mode, "repeats", played(home / "repeats", engine, repeats=2))
        sweep = played(home / "sweep", engine, matrix={"arrivals.rate": list(RATES)})
        for cell in sorted(sweep.glob("cells/*")):
            yield row(mode, "sweep", cell)


def played(home: Path, engine: Json, *options: str, **changes: Any) -> Path:
    """The run's or sweep's directory."""
    home.mkdir()
    spec = {
        "name": "arms",
        "seed": 5,
        "conversations": {
            "source": "fixed",
            "count": NUM_CONVERSATIONS,
            "turns": 2,
            "prompt_tokens": NUM_PROMPT,
            "output_tokens": 4,
        },
        "arrivals": {"process": "constant", "rate": RATES[0]},
        "users": {"all": {"share": 1.0, "slo": {"ttft": "300ms", "tbt": "1s", "attainment": 0.5}}},
        "engines": {"before": engine, "after": dict(engine)},
        "baseline": "before",
        "gates": GATES,
        **changes,
    }
    (home / "w.yaml").write_text(yaml.safe_dump(spec, sort_keys=False))
    fsbench = [sys.executable, "-m", "suite.cli", "run", str(home / "w.yaml"), *options]
    done = subprocess.run(
        [*fsbench, "--out", str(home / "runs")], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1, 3), done.stderr  # gates may be missed, and open
    (directory,) = (home / "runs").iterdir()
    return directory


def row(
    mode: str, kind: str, run: Path, verdicts: Counter[str] | None = None, other: Path | None = None
) -> Row:
    """`other`: where `before` is of another run."""
    metrics = json.loads((run / "metrics.json").read_text())
    arms = metrics["engines"]
    if other is not None:
        before = json.loads((other / "metrics.json").read_text())["engines"]["before"]
        arms = {"before": before, "after": arms["after"]}
    caches = [each["prefix_cache"] for each in arms.values()]
    solo = run / SOLO_FOLDER
    folders = [run, solo] if kind == "solo" else [run]
    trials = [(folder, trial) for folder in folders for trial in Manifest.read(folder).trials]
    return Row(
        mode=mode,
        kind=kind,
        num_parts=len(trials),
        num_warm_turns=sum(each["num_warm_turns"] for each in caches),
        num_turns=sum(len(read_turns(p.directory(f) / "turns.parquet")) for f, p in trials),
        is_isolated=all(
            each["is_isolated"] and each["is_solo_isolated"] is not False for each in caches
        ),
        users_within_ratio=pair(each["slo"]["users_within_slo_ratio"] for each in arms.values()),
        ttft_mean_s=pair(each["ttft_s"]["mean"] for each in arms.values()),
        slowdown_mean=arms["after"]["fairness"]["slowdown_mean"] if kind == "solo" else None,
        verdicts=dict(verdicts or verdicts_of(metrics["comparisons"])),
        gates=[]
        if other
        else [f"{e['engine']} {e['gate']}: {e['outcome']}" for e in metrics["gates"]],
    )


def pair(values: Iterable[float]) -> tuple[float, float]:
    before, after = values
    return before, after


def verdicts_of(comparisons: Mapping[str, Sequence[Mapping[str, Any]]]) -> Counter[str]:
    return Counter(str(each["verdict"]) for entries in comparisons.values() for each in entries)


def show(rows: Sequence[Row]) -> None:
    header = [
        "kept apart by",
        "test",
        "trials",
        "warm turns",
        "within SLO",
        "TTFT mean",
        "slowdown",
    ]
    print_table(
        [*header, "better", "worse", "other"],
        [
            [
                each.mode,
                each.kind,
                each.num_parts,
                f"{each.num_warm_turns} of {each.num_turns}",
                " / ".join(f"{ratio:.0%}" for ratio in each.users_within_ratio),
                " / ".join(f"{value * 1e3:.0f} ms" for value in each.ttft_mean_s),
                "–" if each.slowdown_mean is None else f"{each.slowdown_mean:.2f}",
                each.verdicts.get("better", 0),
                each.verdicts.get("worse", 0),
                sum(each.verdicts.values())
                - each.verdicts.get("better", 0)
                - each.verdicts.get("worse", 0),
            ]
            for each in rows
        ],
    )


if __name__ == "__main__":
    main()
