"""What answered stands in manifest, metrics, report and export, and so does what was amiss."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from reports.pages.run import write_report
from suite.judging.metrics_file import write_metrics
from suite.measuring.export import export_run
from suite.playing.runner import run
from suite.playing.workload import load_workload
from suite.records.progress import Progress
from suite.records.run_directory import Manifest, Trial
from tests.ways_server import Ways, server


class Quiet:
    def on_trial_start(self, engine: str, repeat: int) -> None: ...

    def on_progress(self, progress: Progress) -> None: ...

    def on_trial_end(self, trial: Trial) -> None: ...


def played(folder: Path, ways: Ways, **engine: Any) -> Path:
    with server(ways) as url:
        workload = {
            "name": "who",
            "seed": 3,
            "conversations": {
                "source": "fixed",
                "count": 2,
                "turns": 1,
                "prompt_tokens": 9,
                "output_tokens": 4,
            },
            "arrivals": {"process": "closed", "concurrency": 1},
            "users": {"all": {"share": 1.0, "slo": {"ttft": "9s", "tbt": "9s", "attainment": 0.9}}},
            "engines": {
                "mine": {
                    "kind": "openai",
                    "base_url": url,
                    "api": "chat",
                    "metrics_url": url.replace("/v1", "/metrics"),
                    **engine,
                }
            },
        }
        path = folder / "who.yaml"
        path.write_text(json.dumps(workload))
        return run(load_workload(path), root=folder, num_workers=1, observer=Quiet()).directory


def test_who_answered_is_in_every_file_of_a_run(tmp_path: Path) -> None:
    directory = played(tmp_path, Ways())
    [trial] = Manifest.read(directory).trials
    assert trial.asked_model == "m"
    assert trial.server is not None
    assert (trial.server.software, trial.server.context_tokens) == ("vLLM", 777)
    [answerer] = trial.answered_by
    assert (answerer.model, answerer.system_fingerprint) == ("m-as-served", "fp_1")
    assert answerer.num_turns == 2
    told = "vLLM 0.32.0; Server: "
    assert trial.engine_version is not None and trial.engine_version.startswith(told)
    metrics = write_metrics(directory)
    assert metrics["engines"]["mine"]["version"] == trial.engine_version
    assert "model m-as-served; fingerprint fp_1" in trial.engine_version
    assert not any("counters" in each for each in metrics["engines"]["mine"]["warnings"])
    assert told in write_report(directory).read_text()
    export_run(directory, tmp_path / "turns.csv", form="csv", engine=None, repeat=1)
    with (tmp_path / "turns.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {(row["answered_model"], row["system_fingerprint"]) for row in rows} == {
        ("m-as-served", "fp_1")
    }
    export_run(directory, tmp_path / "bench.json", form="vllm-bench", engine=None, repeat=1)
    bench = json.loads((tmp_path / "bench.json").read_text())
    assert (bench["model_id"], bench["server_version"]) == ("m", trial.engine_version)


@pytest.mark.parametrize(
    ("ways", "words"),
    [
        (Ways(counters=None), "gave no counters (404 Not Found)"),
        (Ways(counters="up 1\n"), "has none of the names that fsbench knows"),
    ],
)
def test_a_counter_page_of_no_use_is_one_remark(tmp_path: Path, ways: Ways, words: str) -> None:
    directory = played(tmp_path, ways)
    warnings = write_metrics(directory)["engines"]["mine"]["warnings"]
    assert len([each for each in warnings if words in each]) == 1, warnings


def test_a_refusal_names_the_key_that_ends_it(tmp_path: Path) -> None:
    directory = played(tmp_path, Ways(refuses=frozenset({"ignore_eos"})))
    warnings = write_metrics(directory)["engines"]["mine"]["warnings"]
    assert any(
        "400 Bad Request: unknown field: ignore_eos (fsbench: set ignore_eos: false)" in each
        for each in warnings
    ), warnings
    good = played(tmp_path, Ways(refuses=frozenset({"ignore_eos"})), ignore_eos=False)
    assert Manifest.read(good).trials[0].counts.failed == 0
