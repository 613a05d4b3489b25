"""A kind is one settings class and one line in the registry: a made-up one is resolved, checked,
run, measured and reported by a suite that has never heard of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import pytest
import yaml
from typer.testing import CliRunner

from engines.api import EngineSettings, PriorityUpdates, VirtualRequest
from engines.errors import EngineInputError
from engines.facts import EngineFacts
from engines.registry import KINDS
from suite.cli import app
from suite.judging.metrics_file import write_metrics
from suite.playing.runner import run
from suite.playing.workload import load_workload, workload_schema
from suite.records.run_directory import Manifest
from suite.sweep.run_cell import NoObserver
from workloads.errors import WorkloadError

SLO = {"ttft": "300ms", "tbt": "300ms", "attainment": 0.9}
REMARK = "a metronome: every token takes as long as the last"


class Tick(NamedTuple):
    """One request's next token."""

    request_id: str
    token_ids: list[int]
    finish_reason: str | None
    num_prompt_tokens: int
    num_cached_tokens: int = 0


class Metronome:
    """Gives each request its next token once every `token_s` virtual seconds."""

    max_virtual_time_s = None
    max_wall_time_s = None

    def __init__(self, token_s: float) -> None:
        self._token_s = token_s
        self._now = 0.0
        self._asked: dict[str, tuple[VirtualRequest, int]] = {}

    def now(self) -> float:
        return self._now

    @property
    def has_work(self) -> bool:
        return bool(self._asked)

    def submit(self, request: VirtualRequest) -> None:
        self._asked[request.request_id] = (request, 0)

    def abort(self, request_id: str) -> None:
        del self._asked[request_id]

    def step(self) -> list[Tick]:
        self._now += self._token_s
        ticks = []
        for name, (request, num_before) in list(self._asked.items()):
            is_last = num_before + 1 == request.num_output_tokens
            self._asked[name] = (request, num_before + 1)
            if is_last:
                del self._asked[name]
            reason = "length" if is_last else None
            ticks.append(Tick(name, [7], reason, len(request.prompt_token_ids)))
        return ticks

    def idle_until(self, instant: float) -> None:
        self._now = max(self._now, instant)


class MetronomeSettings(EngineSettings):
    """`kind: metronome`."""

    kind: Literal["metronome"] = "metronome"
    beat: Literal["largo", "presto"] = "largo"
    token_s: float | None = None

    def resolve(self, model: str | None) -> Self:
        if model is None:
            raise EngineInputError("a metronome wants a model to beat for")
        return self.model_copy(update={"token_s": {"largo": 0.5, "presto": 0.1}[self.beat]})

    def check_longest(self, num_tokens: int) -> None:
        if num_tokens > 1000:
            raise EngineInputError(f"beat {self.beat} counts to 1000, got {num_tokens}")

    @property
    def unheard_priorities(self) -> str | None:
        return "a metronome hears nothing"

    def facts(self) -> EngineFacts:
        return EngineFacts(is_virtual=True, is_modelled=True)

    def remarks(self) -> list[str]:
        return [REMARK]

    @contextmanager
    def running(
        self, *, name: str, directory: Path, priorities: PriorityUpdates | None
    ) -> Iterator[Metronome]:
        assert self.token_s is not None, "settings are resolved before they run"
        (directory / "engine.log").write_text(f"{name} beats every {self.token_s} s\n")
        yield Metronome(self.token_s)


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(KINDS, "metronome", MetronomeSettings)
    fixed = {"source": "fixed", "turns": 2, "prompt_tokens": 20, "output_tokens": 5, "count": 8}
    content: dict[str, Any] = {
        "name": "beats",
        "seed": 3,
        "model": "tiny-llama",
        "conversations": fixed,
        "arrivals": {"process": "constant", "rate": 1.0},
        "users": {"all": {"share": 1.0, "slo": SLO}},
        "priorities": {"pattern": "random"},
        "engines": {
            "slow": {"kind": "metronome"},
            "quick": {"kind": "metronome", "beat": "presto"},
        },
        "baseline": "slow",
        "references": [
            {"source": "a score", "engine": "quick", "metrics": ["tbt.p50"]}
            | {"times_better": {"low": 2}}
        ],
        "gates": ["quick: tbt.p50 <= 0.25 * baseline"],
    }
    path = tmp_path / "w.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_a_made_up_kind_is_resolved_run_measured_and_judged(workload: Path, tmp_path: Path) -> None:
    loaded = load_workload(workload)
    assert loaded.is_virtual
    played = run(loaded, root=tmp_path / "runs", num_workers=1, observer=NoObserver())
    assert [trial.status for trial in played.manifest.trials] == ["complete", "complete"]
    directory = played.directory
    manifest = Manifest.read(directory)
    assert manifest.engines["quick"]["token_s"] == 0.1
    assert manifest.facts_of("quick") == loaded.engines["quick"].facts()
    assert "quick beats" in (directory / "quick" / "1" / "engine.log").read_text()
    metrics = write_metrics(directory)
    assert metrics["engines"]["slow"]["tbt_s"]["p50"] == pytest.approx(0.5)
    assert metrics["engines"]["quick"]["tbt_s"]["p50"] == pytest.approx(0.1)
    assert metrics["engines"]["quick"]["is_exact"]
    assert REMARK in metrics["engines"]["quick"]["warnings"]
    (cited,) = metrics["references"]
    assert cited["is_simulated"] and cited["times_better"] == pytest.approx(5.0)
    assert [gate["outcome"] for gate in metrics["gates"]] == ["pass"]
    reported = CliRunner().invoke(app, ["report", str(directory)])
    assert reported.exit_code == 0, reported.output
    page = (directory / "report.html").read_text()
    assert all(part in page for part in REMARK.split(": "))  # its label, and what is meant by it


def test_what_a_made_up_kind_refuses_is_told_with_its_place(workload: Path) -> None:
    with pytest.raises(WorkloadError, match=r"w\.yaml: engines\.slow: a metronome wants a model"):
        load_workload(workload, ["model=null"])
    with pytest.raises(WorkloadError, match=r"engines\.slow\.beat largo counts to 1000, got 2010"):
        load_workload(workload, ["conversations.prompt_tokens=1000", "conversations.turns=2"])
    with pytest.raises(WorkloadError, match=r"engines\.slow\.beat"):
        load_workload(workload, ["engines.slow.beat=andante"])


def test_a_made_up_kind_is_in_the_schema_and_says_that_it_hears_no_priorities(
    workload: Path,
) -> None:
    kinds = workload_schema()["properties"]["engines"]["additionalProperties"]["anyOf"]
    assert "MetronomeSettings" in [each["title"] for each in kinds]
    checked = CliRunner().invoke(app, ["validate", str(workload)])
    assert checked.exit_code == 0, checked.output
    assert "engine 'slow' is sent no priorities; a metronome hears nothing" in checked.output
