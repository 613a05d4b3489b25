from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.validity import compare

BAND_RATIO = 0.05  # docs/simulator.md


def test_a_run_is_compared_number_by_number(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text(
        "input_toks,output_toks,queued_s,scheduled_s,first_token_s,last_token_s\n"
        "500,20,0.0,0.0,0.1,0.5\n700,30,0.2,0.2,0.3,0.9\n"
    )
    results = compare(path)
    assert results["measured"]["ttft_mean_s"] == pytest.approx(0.1)
    assert results["measured"]["tpot_mean_s"] == pytest.approx((0.4 / 19 + 0.6 / 29) / 2)
    assert results["measured"]["makespan_s"] == pytest.approx(0.9)
    assert results["simulated"]["num_preemptions"] == 0
    assert 0.4 < results["simulated"]["makespan_s"] < 1.5


@pytest.mark.traces
def test_the_measured_run_is_met_within_the_documented_band(
    real_trace: Callable[[str], Path],
) -> None:
    results = compare(real_trace("vllm_measured_rtx4090_llama31-8b_requests.csv.gz"))
    for name, error in results["error_ratio"].items():
        assert abs(error) < BAND_RATIO, name
    assert 150 < results["simulated"]["num_preemptions"] < 300
