from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.closed_loop_validity import SERVER, closed_loop, summary
from suite.driver.calibrate import running_server


def test_a_closed_loop_is_played_whole_and_its_own_time_stands_apart(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    command = [sys.executable, *SERVER, str(tmp_path / "server")]
    with running_server(command, tmp_path / "server") as port:
        loop = closed_loop(tmp_path / "loop", port, num_streams=2, num_turns=4, num_output_tokens=6)
    assert loop.num_turns == 2 * 4
    assert 0 < loop.own_time_p50_s <= loop.own_time_p99_s
    assert loop.lag_p99_s is None  # of eight turns
    assert loop.lag_max_s > 0
    [row] = summary([loop, loop])
    assert (row["num_streams"], row["num_rounds"], row["num_turns"]) == (2, 2, 16)
    assert row["own_time_p50_s"] == loop.own_time_p50_s
