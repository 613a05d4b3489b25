from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from workloads.errors import TraceError
from workloads.shapes import Tally
from workloads.traces.vllm_requests import read_vllm_requests

HEADER = "input_toks,output_toks,queued_s,scheduled_s,first_token_s,last_token_s\n"


def test_each_request_is_a_conversation_of_one_turn_in_order_of_its_queueing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "r.csv"
    path.write_text(HEADER + "10,4,1.5,1.6,2.0,3.0\n2358,531,0.0,0.1,0.7,17.6\n")
    first, second = read_vllm_requests(path, Tally())
    assert (first.start_us, second.start_us) == (0, 1_500_000)
    (turn,) = first.turns
    assert (turn.num_new_prompt_tokens, turn.num_output_tokens) == (2358, 531)


def test_a_request_without_an_answer_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_text("input_toks,output_toks,queued_s\n3,0,0.0\n")
    with pytest.raises(TraceError, match=r"r\.csv:2: output_toks must be a whole number ≥ 1"):
        list(read_vllm_requests(path, Tally()))


@pytest.mark.traces
def test_the_measured_run_is_read(real_trace: Callable[[str], Path]) -> None:
    path = real_trace("vllm_measured_rtx4090_llama31-8b_requests.csv.gz")
    shapes = list(read_vllm_requests(path, Tally()))
    assert len(shapes) == 300
    assert sum(shape.turns[0].num_output_tokens for shape in shapes) == 195_753
