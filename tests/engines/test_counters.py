"""Counter pages of other servers under our names; and what is said where there are none."""

from __future__ import annotations

import urllib.error
from dataclasses import asdict
from email.message import Message
from pathlib import Path

import pytest

from engines.counter_names import COUNTER_NAMES, recognised
from engines.server_metrics import ServerMetrics, logged_server_metrics, parse_metrics, samples_on

# As b11549 of llama.cpp gives it after three requests.
LLAMA_CPP = """\
# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed, excluding cached tokens
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 41
# TYPE llamacpp:prompt_tokens_cached_total counter
llamacpp:prompt_tokens_cached_total 35
# TYPE llamacpp:tokens_predicted_total counter
llamacpp:tokens_predicted_total 15
# TYPE llamacpp:n_decode_total counter
llamacpp:n_decode_total 17
# TYPE llamacpp:predicted_tokens_seconds gauge
llamacpp:predicted_tokens_seconds 200.1
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 1
# TYPE llamacpp:requests_deferred gauge
llamacpp:requests_deferred 2
"""
SGLANG = """\
# TYPE sglang:prompt_tokens_total counter
sglang:prompt_tokens_total{model_name="m"} 8.0
# TYPE sglang:cached_tokens_total counter
sglang:cached_tokens_total{model_name="m"} 3.0
# TYPE sglang:token_usage gauge
sglang:token_usage{model_name="m"} 0.28
# TYPE sglang:num_running_reqs gauge
sglang:num_running_reqs{model_name="m"} 2.0
"""
TGI = """\
# TYPE tgi_batch_inference_count counter
tgi_batch_inference_count{method="prefill"} 2
tgi_batch_inference_count{method="decode"} 9
# TYPE tgi_request_generated_tokens histogram
tgi_request_generated_tokens_sum 30
tgi_request_generated_tokens_count 2
"""
LITELLM = """\
# TYPE litellm_input_tokens_metric_total counter
litellm_input_tokens_metric_total{model="a"} 5.0
litellm_input_tokens_metric_total{model="b"} 6.0
"""


def read(page: str) -> dict[str, float]:
    row = asdict(parse_metrics(page, at=0.0, more={}))
    return {name: value for name, value in row.items() if value is not None and name != "at"}


@pytest.mark.parametrize(
    ("page", "whose", "fields"),
    [
        (
            LLAMA_CPP,
            "llama.cpp",
            {
                "num_running": 1,
                "num_waiting": 2,
                "num_steps": 17,
                "num_prompt_tokens": 41,
                "num_generated_tokens": 15,
                "num_queried_tokens": 76,
                "num_reused_tokens": 35,
            },
        ),
        (
            SGLANG,
            "SGLang",
            {
                "num_running": 2,
                "kv_usage_ratio": 0.28,
                "num_prompt_tokens": 8,
                "num_queried_tokens": 8,
                "num_reused_tokens": 3,
            },
        ),
        (TGI, "TGI", {"num_steps": 11, "num_generated_tokens": 30}),
        (LITELLM, "LiteLLM", {"num_prompt_tokens": 11, "num_queried_tokens": 11}),
    ],
)
def test_a_server_s_own_names_are_read(page: str, whose: str, fields: dict[str, float]) -> None:
    assert read(page) == fields
    found = recognised(samples_on(page).keys())
    assert {server: set(given) for server, given in found.items()} == {whose: set(fields)}


def test_all_fields_that_are_named_are_fields_of_the_log() -> None:
    known = set(ServerMetrics.__dataclass_fields__)
    assert {field for names in COUNTER_NAMES.values() for field in names} <= known


def test_a_value_that_is_no_number_is_not_told() -> None:
    assert read("llamacpp:n_decode_total NaN\n") == {}


def remark(tmp_path: Path, *pages: str | Exception) -> str | None:
    """`pages`: the first look, and the last."""
    left = list(pages)

    def read_page() -> str:
        page = left[0] if len(left) == 1 else left.pop(0)
        if isinstance(page, Exception):
            raise page
        return page

    with logged_server_metrics(tmp_path, read_page, interval_s=3600.0, where="PAGE") as watch:
        pass
    return watch.remark()


def test_a_page_with_known_names_needs_no_remark(tmp_path: Path) -> None:
    assert remark(tmp_path, LLAMA_CPP) is None


def test_a_page_without_known_names_is_told_with_its_own(tmp_path: Path) -> None:
    said = remark(tmp_path, "up 1\nprocess_cpu_seconds_total 2\n")
    assert said is not None
    assert said.startswith("PAGE has none of the names that fsbench knows (vLLM, fsbench, llama")
    assert said.endswith("on it: process_cpu_seconds, up")
    assert "the page is empty" in str(remark(tmp_path, ""))


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (urllib.error.HTTPError("u", 404, "Not Found", Message(), None), "(404 Not Found)"),
        (ConnectionRefusedError(111, "Connection refused"), "(Connection refused)"),
        (ValueError("could not convert\nstring"), "no Prometheus page: could not convert string"),
    ],
)
def test_a_page_that_can_not_be_had_is_told_with_the_reason(
    tmp_path: Path, failure: Exception, words: str
) -> None:
    said = remark(tmp_path, failure)
    assert said is not None and said.startswith("PAGE gave no counters (") and words in said
    assert "\n" not in said


def test_a_page_that_was_there_at_first_is_told_with_its_share(tmp_path: Path) -> None:
    refusal = TimeoutError("timed out")
    said = remark(tmp_path, LLAMA_CPP, refusal)
    assert said == "PAGE gave no counters 1 of 2 times (timed out)"
