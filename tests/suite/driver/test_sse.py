from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from suite.driver.http1 import Response
from suite.driver.sse import Event, EventReader


def events(response: Response) -> list[Event]:
    reader = EventReader(response)
    return list(iter(reader.next, None))


EVENTS = st.lists(st.text(st.characters(codec="ascii", exclude_characters="\r\n"), max_size=12))


@given(EVENTS, st.data())
def test_every_event_is_given_to_the_read_that_brought_its_last_byte(
    texts: list[str], data: st.DataObject
) -> None:
    newline = data.draw(st.sampled_from([b"\n", b"\r\n"]))
    frames = [b"data: " + text.encode() + newline * 2 for text in texts]
    # The chunks of the transfer encoding need not be events.
    body = b"".join(frames)
    chunk_cuts = sorted(data.draw(st.sets(st.integers(0, len(body)))) | {0, len(body)})
    raw = bytearray(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    raw_of_body = []  # offset in `raw` of each byte of the body: the slow twin of the mapping
    for start, stop in pairwise(chunk_cuts):
        raw += b"%x\r\n" % (stop - start)
        raw_of_body += range(len(raw), len(raw) + stop - start)
        raw += body[start:stop] + b"\r\n"
    raw += b"0\r\n\r\n"
    read_ends = sorted(data.draw(st.sets(st.integers(1, len(raw)))) | {len(raw)})
    response = Response()
    for start, stop in zip([0, *read_ends], read_ends, strict=False):
        response.feed(bytes(raw[start:stop]), stop)

    found = list(events(response))

    assert [event.data.decode() for event in found] == texts
    end = 0
    for event, frame in zip(found, frames, strict=True):
        end += len(frame)
        last_byte = raw_of_body[end - 1]
        assert event.read == next(i for i, stop in enumerate(read_ends) if stop > last_byte)


def one_read(body: bytes) -> Response:
    response = Response()
    response.feed(b"HTTP/1.1 200 OK\r\n\r\n" + body, 0)
    return response


def test_comments_and_other_fields_are_no_events() -> None:
    response = one_read(b": keep-alive\n\nid: 3\nretry: 5\ndata: a\n\n\n\n")
    assert [event.data for event in events(response)] == [b"a"]


def test_lines_of_one_event_are_joined_and_its_name_is_kept() -> None:
    response = one_read(b"event: error\ndata: a\ndata:b\n\ndata: c\n\n")
    assert [(event.kind, event.data) for event in events(response)] == [
        ("error", b"a\nb"),
        ("message", b"c"),
    ]


def test_an_event_cut_off_by_the_end_is_left_out() -> None:
    assert [event.data for event in events(one_read(b"data: a\n\ndata: b\n"))] == [b"a"]
