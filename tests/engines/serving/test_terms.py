"""Who asks and what was promised reaches the engine, from body, headers and the server's own
promises; whatever contradicts itself is refused in one line."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.core.request import Request
from engines.promise import Promise, in_milliseconds
from engines.serving.terms import SLO_HEADERS
from engines.terms import UNKNOWN, Slo, Terms
from tests.engines.serving.served import MODEL, served

PATHS = {
    "/v1/completions": {"prompt": "hi"},
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
}
CLASSES = {
    "interactive": Promise(ttft_ms=1000, tbt_ms=200, max_gap_ms=2000),
    "default": Promise(ttft_ms=5000, tbt_ms=500),
}


def asked(
    fields: dict[str, Any],
    headers: dict[str, str] | None = None,
    *,
    promises: dict[str, Promise] | None = None,
    path: str = "/v1/completions",
) -> tuple[int, dict[str, Any], list[Request]]:
    async def main() -> tuple[int, dict[str, Any], list[Request]]:
        async with served(model=replace(MODEL, promises=promises or {})) as server:
            status, reply = await server.post(path, {**PATHS[path], **fields}, headers=headers)
            return status, reply, server.engine.submitted

    return asyncio.run(main())


def terms(fields: dict[str, Any], headers: dict[str, str] | None = None, **more: Any) -> Terms:
    status, reply, submitted = asked(fields, headers, **more)
    assert status == 200, reply
    return submitted[0].terms


def refusal(fields: dict[str, Any], headers: dict[str, str] | None = None) -> tuple[str, str]:
    status, reply, submitted = asked(fields, headers)
    assert (status, submitted) == (400, [])
    message = reply["error"]["message"]
    assert "\n" not in message
    return reply["error"]["param"], message


@pytest.mark.parametrize("path", PATHS)
def test_the_body_says_who_asks_and_what_was_promised(path: str) -> None:
    slo = {"ttft_ms": 1500, "tbt_ms": 150.5, "max_gap_ms": 2000, "tbt_percentile": 0.95}
    found = terms({"user": "ann", "user_class": "gold", "slo": slo}, path=path)
    assert found == Terms(
        user_id="ann",
        user_class="gold",
        slo=Slo(ttft_s=1.5, tbt_s=0.1505, tbt_percentile=0.95, max_gap_s=2.0),
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_gateway_says_it_in_headers_whatever_their_case(path: str) -> None:
    headers = {"x-user-id": "ann", "X-User-Class": "gold", "X-SLO-TTFT-MS": "1500"}
    more = {"x-slo-tbt-ms": "150", "X-SLO-Max-Gap-MS": "2e3"}
    found = terms({}, {**headers, **more}, path=path)
    slo = Slo(ttft_s=1.5, tbt_s=0.15, max_gap_s=2.0)
    assert found == Terms(user_id="ann", user_class="gold", slo=slo)


def test_nothing_said_is_nothing_known() -> None:
    assert terms({}) == UNKNOWN
    assert terms({"user": None, "slo": None}) == UNKNOWN


def test_body_and_headers_may_say_the_same_or_complete_each_other() -> None:
    fields = {"user": "ann", "slo": {"ttft_ms": 1000}}
    headers = {"X-User-Id": "ann", "X-SLO-TTFT-MS": "1000.0", "X-SLO-TBT-MS": "200"}
    assert terms(fields, headers) == Terms(user_id="ann", slo=Slo(ttft_s=1.0, tbt_s=0.2))


def test_a_class_has_what_the_server_promises_it_where_the_request_does_not_say() -> None:
    mine = {"user_class": "interactive"}
    whole = Slo(ttft_s=1.0, tbt_s=0.2, max_gap_s=2.0)
    assert terms(mine, promises=CLASSES).slo == whole
    tighter = terms({**mine, "slo": {"ttft_ms": 500}}, promises=CLASSES).slo
    assert tighter == Slo(ttft_s=0.5, tbt_s=0.2, max_gap_s=2.0)
    others = Slo(ttft_s=5.0, tbt_s=0.5)
    assert terms({"user_class": "unheard of"}, promises=CLASSES).slo == others
    assert terms({}, promises=CLASSES) == Terms(slo=others)


@pytest.mark.parametrize(
    ("fields", "headers", "param", "words"),
    [
        ({"user": "a"}, {"X-User-Id": "b"}, "user", "user 'a' and X-User-Id 'b' differ"),
        ({"user_class": "a"}, {"X-User-Class": "b"}, "user_class", "send one"),
        (
            {"slo": {"ttft_ms": 1, "tbt_ms": 2}},
            {"X-SLO-TBT-MS": "3"},
            "slo",
            "slo.tbt_ms 2 and X-SLO-TBT-MS 3 differ",
        ),
        ({}, {"X-SLO-TTFT-MS": "soon"}, "slo", "X-SLO-TTFT-MS must be a number, got 'soon'"),
        ({}, {"X-SLO-TTFT-MS": "-1", "X-SLO-TBT-MS": "5"}, "slo", "X-SLO-TTFT-MS: input should be"),
        ({}, {"X-SLO-TTFT-MS": "nan", "X-SLO-TBT-MS": "5"}, "slo", "X-SLO-TTFT-MS: "),
        ({}, {"X-SLO-TTFT-MS": "5"}, "slo", "slo.tbt_ms is missing, and no class's default"),
        ({"slo": {"tbt_ms": 5}}, {}, "slo", "slo.ttft_ms is missing"),
        ({"slo": {"ttft": 5}}, {}, "slo", "slo.ttft: extra inputs are not permitted, got 5"),
        ({"slo": {"ttft_ms": "1s", "tbt_ms": 5}}, {}, "slo", "slo.ttft_ms: "),
        ({"slo": {"ttft_ms": 0, "tbt_ms": 5}}, {}, "slo", "slo.ttft_ms: input should be greater"),
        (
            {"slo": {"ttft_ms": 9, "tbt_ms": 5, "max_gap_ms": 4}},
            {},
            "slo",
            "max_gap_ms must be >= tbt_ms 5, got 4",
        ),
        (
            {"slo": {"ttft_ms": 9, "tbt_ms": 5}},
            {"X-SLO-Max-Gap-MS": "4"},
            "slo",
            "max_gap_ms must be >= tbt_ms 5, got 4",
        ),
        ({"slo": 3}, {}, "slo", "slo: "),
        ({"user": ""}, {}, "user", "user: "),
        ({"user": 3}, {}, "user", "user: "),
        ({}, {"X-User-Id": "u" * 300}, "user", "X-User-Id must have 1 to 256 characters, got 300"),
    ],
)
def test_what_contradicts_itself_is_refused_in_one_line(
    fields: dict[str, Any], headers: dict[str, str], param: str, words: str
) -> None:
    found = refusal(fields, headers)
    assert found[0] == param
    assert words in found[1]


def test_each_field_of_an_slo_has_its_header() -> None:
    assert set(SLO_HEADERS) == set(Promise.model_fields)


POSITIVE = st.floats(1e-3, 1e6)


@given(POSITIVE, POSITIVE, st.floats(0.01, 1), st.none() | st.floats(1, 100))
def test_an_slo_said_in_milliseconds_comes_back_as_it_was(
    ttft_s: float, tbt_s: float, percentile: float, times: float | None
) -> None:
    cap = None if times is None else tbt_s * times
    slo = Slo(ttft_s=ttft_s, tbt_s=tbt_s, tbt_percentile=percentile, max_gap_s=cap)
    heard = Promise(**in_milliseconds(slo)).slo()
    assert heard.ttft_s == pytest.approx(ttft_s)
    assert (heard.tbt_s, heard.max_gap_s) == pytest.approx((tbt_s, cap))
    assert heard.tbt_percentile == percentile
