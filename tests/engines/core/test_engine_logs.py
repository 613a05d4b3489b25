from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from engines.arrow_log import read_arrow_logs
from engines.core.engine_logs import STEPS_PER_BATCH, EngineLogs
from tests.engines.core.test_engine import VLLM, Bench, core_settings, prompt_of


def pressed() -> Bench:
    bench = Bench(core_settings(replace(VLLM, copy="merged")))
    for i in range(8):
        bench.submit(f"r{i}", prompt_of(i, 16), 8, priority=8 - i)
        bench.step()
    bench.run()
    return bench


def test_what_was_said_can_be_read_from_disk(tmp_path: Path) -> None:
    bench = pressed()
    logs = EngineLogs(tmp_path)
    for row in bench.rows:
        logs.step(row)
    for request in bench.requests.values():
        logs.request(request)
    for transfer in bench.transfers:
        logs.transfer(transfer)
    logs.close()
    steps, requests, transfers = (
        read_arrow_logs([tmp_path / f"{name}.arrows"])
        for name in ("steps", "requests", "transfers")
    )
    assert steps["step"].to_pylist() == list(range(len(bench.rows)))
    assert transfers["num_blocks"].to_pylist() == [each.num_blocks for each in bench.transfers]
    assert set(transfers["direction"].to_pylist()) == {"swap_out", "swap_in"}
    assert requests["request_id"].to_pylist() == list(bench.requests)
    assert requests.schema.field("first_token_at").nullable
    spans = requests["spans"].to_pylist()
    for told, request in zip(spans, bench.requests.values(), strict=True):
        assert [(each["state"], each["ended_at"]) for each in told] == [
            (each.state, each.ended_at) for each in request.spans
        ]


def test_a_kill_loses_no_more_than_the_last_steps_of_any_log(tmp_path: Path) -> None:
    bench = pressed()
    logs = EngineLogs(tmp_path)
    request = next(iter(bench.requests.values()))
    logs.request(request)
    logs.transfer(bench.transfers[0])
    for _ in range(STEPS_PER_BATCH):
        logs.step(bench.rows[0])
    logs.request(request)  # lost
    read = [read_arrow_logs([tmp_path / f"{n}.arrows"]) for n in ("steps", "requests", "transfers")]
    assert [len(table) for table in read] == [STEPS_PER_BATCH, 1, 1]
    logs.close()
