from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from workloads.errors import TraceError
from workloads.shapes import Tally
from workloads.traces.azure import EMPTY, read_azure


def requests(path: Path, tally: Tally) -> list[tuple[int | None, int, int]]:
    return [
        (c.start_us, turn.num_new_prompt_tokens, turn.num_output_tokens)
        for c in read_azure(path, tally)
        for turn in c.turns
    ]


def test_the_rebased_form_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t_s,context_tokens,generated_tokens\n0.0,374,44\n4.3146,396,109\n")
    assert requests(path, Tally()) == [(0, 374, 44), (4_314_600, 396, 109)]


@pytest.mark.parametrize("zone", ["", "+00:00"])
def test_the_public_form_is_read_to_the_microsecond_and_put_in_order(
    tmp_path: Path, zone: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n"
        f"2023-11-16 18:15:46.6805900{zone},374,44\n"
        f"2023-11-16 18:15:45.5{zone},396,109\n"
    )
    (first, *one), (second, *two) = requests(path, Tally())
    assert (one, two) == ([396, 109], [374, 44])
    assert first is not None
    assert second is not None
    assert second - first == 1_180_590


def test_empty_requests_are_skipped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("t_s,context_tokens,generated_tokens\n0,0,4\n1,3,0\n2,3,4\n")
    tally = Tally()
    assert requests(path, tally) == [(2_000_000, 3, 4)]
    assert tally == {EMPTY: 2}


def test_a_bad_timestamp_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,3,4\n")
    with pytest.raises(TraceError, match=r"a\.csv:2: TIMESTAMP must be a date and time, got 'yest"):
        list(read_azure(path, Tally()))


@pytest.mark.traces
def test_the_real_trace_has_its_published_rate_and_burstiness(
    real_trace: Callable[[str], Path],
) -> None:
    starts = [start or 0 for start, _, _ in requests(real_trace("azure2023_conv.csv.gz"), Tally())]
    gaps = np.diff(starts) / 1e6
    assert len(starts) == 19_366
    assert 1 / gaps.mean() == pytest.approx(5.53, abs=0.01)
    assert gaps.std() / gaps.mean() == pytest.approx(1.09, abs=0.01)
