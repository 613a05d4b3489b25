"""Sizes that can only be slips are refused in one line, before anything is built or started."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from suite.cli.app import app
from tests.workloads.examples import SMALL, counts, small_plan, write_small
from workloads.arrivals import TOO_DENSE
from workloads.errors import WorkloadError
from workloads.units import parse_duration

FIXED = "source: fixed, count: 2, turns: 3, prompt_tokens: 10, output_tokens: 4"
SYNTHETIC = "source: synthetic, count: 2, turns: 3, prompt_tokens: 10, output_tokens: 4"
ENGINE = (
    "engines={any: {kind: simulated, profile: a10-llama3-8b, kv_tokens: 16384, swap_tokens: 16384}}"
)
ALONE = ("--set", ENGINE, "--set", "baseline=null")


def validated(path: Path, *arguments: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The exit code of `fsbench validate`, and what it says."""
    try:
        app(["validate", str(path), *ALONE, *arguments])
    except SystemExit as end:
        code = end.code
    printed = capsys.readouterr()
    return int(code or 0), printed.out + printed.err


@pytest.mark.parametrize(
    ("override", "problem"),
    [
        (
            f"conversations={{{FIXED.replace('10', '999999999999')}}}",
            "conversations.prompt_tokens must be ≤ 10000000, got 999999999999",
        ),
        (
            f"conversations={{{SYNTHETIC.replace('10', '999999999999')}}}",
            "conversations.prompt_tokens.constant must be ≤ 10000000, got 999999999999",
        ),
        (
            f"conversations={{{FIXED.replace('turns: 3', 'turns: 999999999999')}}}",
            "conversations.turns must be ≤ 100000, got 999999999999",
        ),
        (
            "conversations={source: sharegpt-like, count: 999999999999}",
            "conversations.count must be ≤ 100000000, got 999999999999",
        ),
        (
            "conversations={source: sharegpt-like, duration: 99999999h}",
            "conversations.duration must be ≤ 10000h, got '99999999h'",
        ),
        ("conversations.length_scale=1e300", "conversations.length_scale must be ≤ 1e+06, got 1e"),
        (
            "conversations.shared_prefix={tokens: 999999999999}",
            "conversations.shared_prefix.tokens must be ≤ 10000000",
        ),
        ("arrivals.rate=1e300", "arrivals.rate must be ≤ 1e+06, got 1e+300"),
        ("arrivals.rate=1e-300", "arrivals.rate: no more than 0 of 12 conversations start within"),
        ("arrivals={process: closed, concurrency: 999999999999}", "arrivals.concurrency must be ≤"),
        ("users.batch.slo.ttft=1e300s", "must be written like 250ms, 2s, 1m or 3h, got '1e300s'"),
        (f"users.batch.slo.ttft={'9' * 300}s", "users.batch.slo.ttft must be ≤ 10000h, got '999"),
        ("think_time={distribution: lognormal, median: 9000h, sigma: 9}", "think_time leads to "),
        (  # as a whole it would take many minutes to be drawn
            "conversations={source: synthetic, count: 100000, turns: 1000, prompt_tokens: 1000000, "
            "output_tokens: 4}",
            "conversations: their prompts have more than 2,000,000,000 tokens in all, 3,000,000,000"
            " with the first 3; ask for fewer",
        ),
        (
            f"conversations={{{FIXED.replace('10', '9000000').replace('count: 2', 'count: 90')}}}",
            "conversations: their prompts have more than 2,000,000,000 tokens in all, 2,025",
        ),
    ],
)
def test_it_is_refused_by_validate(
    tmp_path: Path, override: str, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_small(tmp_path)
    code, said = validated(path, "--set", override, capsys=capsys)
    assert (code, said.count("\n")) == (2, 1), said
    assert said.startswith("fsbench: ") and problem in said


@pytest.mark.parametrize(
    ("trace", "header", "row", "problem"),
    [
        (
            "azure",
            "t_s,context_tokens,generated_tokens",
            "1e300,3,4",
            "t_s must be ≤ 100,000,000,0",
        ),
        (
            "azure",
            "t_s,context_tokens,generated_tokens",
            "1,999999999999,4",
            "context_tokens must be ≤ 10,000,000, got '999999999999'",
        ),
        ("azure", "t_s,context_tokens,generated_tokens", "99999999999,3,4", None),
        (
            "burstgpt",
            "Timestamp,Elapsed time,Request tokens,Response tokens",
            "1,1e300,3,4",
            "Elapsed time must be ≤ 36,000,000, got '1e300'",
        ),
        (
            "vllm-requests",
            "input_toks,output_toks,queued_s",
            "3,999999999999,1",
            "output_toks must be ≤ 10,000,000, got",
        ),
        (
            "sharegpt",
            "num_prefill_tokens,num_decode_tokens",
            "999999999999,4",
            "num_prefill_tokens must be ≤ 10,000,000, got",
        ),
    ],
)
def test_a_trace_with_such_a_size_is_refused_with_its_line(
    tmp_path: Path, trace: str, header: str, row: str, problem: str | None
) -> None:
    path = tmp_path / "trace"
    first = ",".join("1" for _ in header.split(","))
    path.write_text(f"{header}\n{first}\n{row}\n")
    with pytest.raises(WorkloadError) as caught:
        arrivals = "arrivals={process: trace}" if problem is None else "arrivals.rate=1.0"
        small_plan(tmp_path, f"conversations={{trace: {trace}, path: {path}}}", arrivals)
    if problem is None:
        assert str(caught.value).startswith("arrivals.scale leads to 1e+11 s; more than")
    else:
        assert str(caught.value).startswith(f"{path}:3: {problem}")


def test_a_duration_at_the_bound_is_none_too_many() -> None:
    assert parse_duration("10000h") == 36_000_000
    with pytest.raises(ValueError, match="must be ≤ 10000h"):
        parse_duration("36000000001ms")


@pytest.mark.parametrize(
    ("gap_ms", "scale", "is_noticed"),
    [(0.2, 1, True), (0.2, 1000, False), (40, 1, False), (0, 1, False)],
)
def test_timestamps_in_another_unit_are_noticed(
    tmp_path: Path,
    gap_ms: float,
    scale: float,
    is_noticed: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A Mooncake file in seconds is a thousand times as dense as it was; one with a coarse clock,
    where many are equal, is not."""
    at = [number * gap_ms + 3000 * (number // 10) * (gap_ms == 0) for number in range(200)]
    lines = [{"timestamp": each, "input_length": 9, "output_length": 2} for each in at]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    source = f"conversations={{trace: mooncake, path: {tmp_path}/m.jsonl}}"
    arrivals = f"arrivals={{process: trace, scale: {scale}}}"
    assert (TOO_DENSE in counts(small_plan(tmp_path, source, arrivals))) == is_noticed
    path = write_small(tmp_path, SMALL)
    settings = [each for value in (source, arrivals) for each in ("--set", value)]
    code, said = validated(path, *settings, capsys=capsys)
    assert code == 0, said
    assert ("may be in another unit" in said) == is_noticed
    rated = small_plan(tmp_path, source, "arrivals={process: poisson, rate: 1.0}")
    assert TOO_DENSE not in counts(rated)
