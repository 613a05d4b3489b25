"""One real server with a prefix cache as both arms of a run: no trial finds what another left, so
equal arms get no verdict; and where they share the cache on purpose, it is seen and nothing judged.

A prompt that is cold takes 0.3 s to its first token, a known one 0.02 s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from suite.driver.caching_server import RESET_PATH, command
from suite.driver.calibrate import running_server
from suite.measuring.cache_isolation import NOTE
from suite.records.run_directory import SOLO_FOLDER, Manifest, Trial
from suite.records.turn_records import TurnRecord, read_turns
from tests.end_to_end.command import finish, only_run, start

NUM_PROMPT, NUM_ANSWER = 70, 3
PACE = {"first_after_s": 0.02, "s_per_token": 0.004, "gap_s": 0.02}
GATES = ["slo.users_within_slo_ratio >= 0.5", "ttft.mean <= 0.9 * baseline"]
Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts a server that behaves as told, and returns its base URL."""
    with ExitStack() as running:

        def start_one(**behaviour: Any) -> str:
            directory = tmp_path / f"server-{len(list(tmp_path.glob('server-*')))}"
            directory.mkdir()
            argv = [sys.executable, *command(directory, **PACE, **behaviour)]
            port = running.enter_context(running_server(argv, directory))
            return f"http://127.0.0.1:{port}/v1"

        yield start_one


def arms(base_url: str, **fields: Any) -> dict[str, Any]:
    engine = {"kind": "openai", "base_url": base_url, **fields}
    return {"before": engine, "after": dict(engine)}


def workload(engines: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "name": "arms",
        "seed": 3,
        "conversations": {
            "source": "fixed",
            "count": 4,
            "turns": 2,
            "prompt_tokens": NUM_PROMPT,
            "output_tokens": NUM_ANSWER,
        },
        "arrivals": {"process": "constant", "rate": 10.0},
        "users": {"all": {"share": 1.0, "slo": {"ttft": "150ms", "tbt": "5s", "attainment": 0.5}}},
        "engines": engines,
        "baseline": next(iter(engines)),
        "gates": GATES,
        **changes,
    }


def play(directory: Path, spec: dict[str, Any], *options: str) -> tuple[int, str]:
    """The exit code and what was said. In a folder of its own, with `spec` as w.yaml."""
    directory.mkdir()
    code, out, err = finish(start(["run", "w.yaml", *options], directory, spec))
    return code, out + err


def trials_of(run: Path) -> list[tuple[Trial, list[TurnRecord]]]:
    return [
        (trial, read_turns(trial.directory(run) / "turns.parquet"))
        for trial in Manifest.read(run).trials
    ]


def assert_nothing_found(records: list[TurnRecord], *, num_opening: int, slack: int = 16) -> None:
    """But a conversation's own first turn by its second, and what stands before all prompts."""
    assert len(records) == 8
    for record in records:
        assert record.error is None
        history = NUM_PROMPT + NUM_ANSWER + num_opening if record.turn else 0
        assert record.num_cached_tokens is not None
        assert record.num_cached_tokens <= history + slack
        assert (record.num_cached_tokens >= 64) == bool(record.turn)  # the cache is one


def metrics_of(run: Path) -> Any:
    return json.loads((run / "metrics.json").read_text())


def assert_no_verdict(metrics: Any) -> None:
    for entries in metrics["comparisons"].values():
        assert {each["verdict"] for each in entries} <= {"unclear", "same", "missing"}


def test_engines_repeats_a_rerun_and_solo_parts_find_nothing_of_each_other(
    tmp_path: Path, serve: Serve
) -> None:
    engines = arms(serve())
    runs = []
    for number, options in enumerate((["--solo"], [])):
        directory = tmp_path / f"run-{number}"
        play(directory, workload(engines, repeats=2 - number), *options)
        runs.append(only_run(directory))
    folders = [runs[0], runs[0] / SOLO_FOLDER, runs[1]]
    found = [each for folder in folders for each in trials_of(folder)]
    assert len(found) == 2 * 2 + 2 + 2
    for trial, records in found:
        assert trial.isolation is not None
        assert (trial.isolation.by, trial.isolation.num_tokens) == ("words", 8)
        assert_nothing_found(records, num_opening=8)
        assert {each.num_prompt_tokens for each in records if each.turn == 0} == {NUM_PROMPT + 8}
    salts = {trial.isolation.salt for trial, _ in found if trial.isolation is not None}
    assert len(salts) == len(found)
    assert len({Manifest.read(run).plan_digest for run in runs}) == 1
    for run in runs:
        metrics = metrics_of(run)
        assert_no_verdict(metrics)
        for engine in metrics["engines"].values():
            assert engine["prefix_cache"]["is_isolated"] is True
            assert engine["slo"]["users_within_slo_ratio"] == 0  # all prompts were cold
            assert not any("prefix cache" in text for text in engine["warnings"])
    assert metrics_of(runs[0])["engines"]["after"]["prefix_cache"]["is_solo_isolated"] is True


def test_the_cells_of_a_sweep_find_nothing_of_each_other_in_chat(
    tmp_path: Path, serve: Serve
) -> None:
    template = 20
    url = serve(num_template_tokens=template)
    engines = {"only": {"kind": "openai", "base_url": url, "api": "chat"}}
    matrix = {"arrivals.rate": [5.0, 10.0, 20.0]}
    directory = tmp_path / "sweep"
    play(directory, workload(engines, matrix=matrix, gates=GATES[:1], baseline=None))
    cells = sorted(only_run(directory).glob("cells/*"))
    assert len(cells) == 3
    for cell in cells:
        [(_, records)] = trials_of(cell)
        before = template + 8 + 2  # the roles of the chat template are tokens here
        assert_nothing_found(records, num_opening=before, slack=template + 16)
        found = metrics_of(cell)["engines"]["only"]
        assert found["prefix_cache"]["is_isolated"] is True
        assert found["slo"]["users_within_slo_ratio"] == 0


def test_a_salt_where_it_is_taken_and_ids_of_the_plans_own_where_it_is_not(
    tmp_path: Path, serve: Serve
) -> None:
    fields = {"kind": "openai", "prompts": "token_ids", "extra_body": {"return_token_ids": True}}
    engines = {
        "words": {**fields, "base_url": serve()},
        "salted": {**fields, "base_url": serve(says_vllm=True)},
    }
    directory = tmp_path / "run"
    play(directory, workload(engines, repeats=2, gates=[]))
    for trial, records in trials_of(only_run(directory)):
        assert trial.isolation is not None
        by_words = trial.engine == "words"
        assert trial.isolation.by == ("words" if by_words else "cache_salt")
        assert trial.isolation.salt
        num_opening = trial.isolation.num_tokens
        assert num_opening == (8 if by_words else 0)
        assert_nothing_found(records, num_opening=num_opening, slack=0)
        firsts = [each.num_prompt_tokens for each in records if each.turn == 0]
        assert set(firsts) == {NUM_PROMPT + num_opening}


def test_a_shared_cache_is_seen_and_gives_no_verdict(tmp_path: Path, serve: Serve) -> None:
    directory = tmp_path / "run"
    code, said = play(directory, workload(arms(serve(), prefix_cache="shared")))
    for trial, _ in trials_of(only_run(directory)):
        assert trial.isolation is not None
        assert (trial.isolation.by, trial.isolation.salt) == ("shared", None)
    metrics = metrics_of(only_run(directory))
    before, after = (metrics["engines"][name]["prefix_cache"] for name in ("before", "after"))
    assert (before["is_isolated"], after["is_isolated"]) == (True, False)
    # Whole blocks of a first prompt; of a second turn's, less what the conversation had itself.
    num_warm = 4 * 64 + 4 * (128 - NUM_PROMPT - NUM_ANSWER)
    assert (after["num_warm_turns"], after["num_warm_tokens"]) == (8, num_warm)
    outcomes = {(each["gate"], each["engine"]): each for each in metrics["gates"]}
    for gate in GATES:  # both would pass, and not for the engine's merits
        assert outcomes[gate, "after"]["outcome"] == "inconclusive"
        assert outcomes[gate, "after"]["reason"] == NOTE
    assert_no_verdict(metrics)
    assert (
        f"repeat 1, prefix cache: in 8 turns of 8 the server found {num_warm} prompt tokens" in said
    )
    assert NOTE in said
    assert code in (1, 3)  # `before` was cold, and its own gate may say so


def test_a_reset_empties_the_cache_before_each_part_and_a_refusal_is_told(
    tmp_path: Path, serve: Serve
) -> None:
    reset = {"reset": f"POST {RESET_PATH}"}
    directory = tmp_path / "run"
    play(directory, workload(arms(serve(), prefix_cache=reset)))
    for trial, records in trials_of(only_run(directory)):
        assert trial.isolation is not None
        assert (trial.isolation.by, trial.isolation.salt) == ("reset", None)
        assert_nothing_found(records, num_opening=0, slack=0)
    refusing = arms(serve(reset_status="403 Forbidden"), prefix_cache=reset)
    code, said = play(tmp_path / "refused", workload(refusing))
    assert code == 2
    assert f"{RESET_PATH} answers 403 Forbidden" in said
