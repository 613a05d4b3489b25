from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from suite.driver.http1 import MAX_HEAD_BYTES, ProtocolError, Response

BODY_PIECES = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    pieces = [data[a:b] for a, b in pairwise(places)]
    return [piece for piece in pieces if piece]


def fed(pieces: list[bytes]) -> Response:
    response = Response()
    for at_ns, piece in enumerate(pieces):
        assert not response.is_complete
        response.feed(piece, at_ns)
    return response


def chunked(pieces: list[bytes], trailers: bytes = b"") -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"".join(b"%x;ext=1\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head + chunks + b"0\r\n" + trailers + b"\r\n"


@given(BODY_PIECES, st.lists(st.integers(0, 10_000), max_size=12))
def test_a_chunked_body_is_the_same_however_it_is_cut_into_reads(
    body: list[bytes], cuts: list[int]
) -> None:
    response = fed(split(chunked(body), cuts))
    assert response.is_complete
    assert response.body() == b"".join(body)
    assert response.can_reuse_connection


@given(st.binary(max_size=60), st.lists(st.integers(0, 10_000), max_size=8))
def test_a_body_of_known_length_ends_with_its_last_byte(body: bytes, cuts: list[int]) -> None:
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    response = fed(split(data, cuts))
    assert response.is_complete
    assert response.body() == body


def test_trailers_belong_to_the_response() -> None:
    response = fed([chunked([b"abc"], trailers=b"X-Sum: 1\r\n")])
    assert response.is_complete
    assert response.can_reuse_connection


def test_a_body_without_length_lasts_until_the_connection_closes() -> None:
    response = fed([b"HTTP/1.1 200 OK\r\n\r\nab", b"cd"])
    assert not response.is_complete
    assert response.body() == b"abcd"
    response.feed_end()
    assert response.is_complete
    assert response.body() == b"abcd"
    assert not response.can_reuse_connection


def test_interim_responses_are_skipped() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"
    response = fed([data[:30], data[30:]])
    assert response.status == 204
    assert response.is_complete


def test_a_connection_that_the_server_will_close_is_not_reused() -> None:
    response = fed([b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"])
    assert response.is_complete
    assert not response.can_reuse_connection


def test_bytes_after_the_end_forbid_reuse() -> None:
    response = fed([b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab"])
    assert response.body() == b"a"
    assert not response.can_reuse_connection


def test_a_body_cut_short_is_an_error_and_keeps_what_came() -> None:
    whole = chunked([b"abc", b"def"])
    response = fed([whole[: whole.index(b"ef")]])
    with pytest.raises(ProtocolError, match="before the answer's end"):
        response.feed_end()
    assert response.body() == b"abcd"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not an HTTP/1.1 response"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n", "content-length is no number"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", "chunk size"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-6\r\n", "chunk size"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n", "content-length is no number"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * (MAX_HEAD_BYTES + 1), "head is over"),
    ],
)
def test_broken_http_is_named(data: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        Response().feed(data, 0)
