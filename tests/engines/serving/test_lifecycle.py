"""Requests that do not end well: clients that leave or do not read, an engine that dies, a stop."""

import asyncio
import logging
import socket
from dataclasses import replace

import openai
import orjson
import pytest

from engines.serving.app import BRIDGE, create_app
from engines.serving.streaming import EventStream
from tests.engines.serving.scripted_engine import ScriptedEngine
from tests.engines.serving.served import MODEL, scripted, served

PATH = "/v1/completions"
LONG = replace(MODEL, max_context_tokens=10_000_000)
ENDLESS = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True}


async def request_bytes(server, body, *, path=PATH, version="1.1"):
    """A connection of our own on which the request has been sent."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    reader, writer = await asyncio.open_connection(sock=connection, limit=1024)
    data = orjson.dumps(body)
    writer.write(
        b"POST %b HTTP/%b\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (path.encode(), version.encode(), len(data), data)
    )
    return reader, writer


@pytest.mark.parametrize("is_streaming", [True, False])
def test_a_client_that_leaves_has_its_request_aborted(is_streaming):
    async def main():
        async with served(scripted(step_limit=5)) as server:
            engine = server.engine
            _, writer = await request_bytes(server, {**ENDLESS, "stream": is_streaming})
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.batch_sizes) == 5)
            assert engine.aborted == []
            writer.close()
            assert await asyncio.to_thread(engine.wait_for, lambda: bool(engine.aborted))
            return engine

    engine = asyncio.run(main())
    assert engine.aborted == [engine.submitted[0].request_id]


def test_a_client_that_leaves_does_not_disturb_the_others():
    async def main():
        async with served(scripted(step_s=0.001)) as server:
            engine = server.engine
            _, writer = await request_bytes(server, {**ENDLESS, "stream": True})
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.batch_sizes) > 3)
            other = asyncio.create_task(
                server.events(PATH, {"prompt": "still here", "max_tokens": 99})
            )
            writer.close()
            return await other

    events = asyncio.run(main())
    assert "".join(event["choices"][0]["text"] for event in events[:-1]) == "still here"
    assert events[-1] == "[DONE]"


def test_a_flood_is_refused_beyond_the_bound_until_somebody_has_ended():
    async def main():
        async with served(scripted(step_limit=5), max_live=2) as server:
            writers = [(await request_bytes(server, ENDLESS))[1] for _ in range(2)]
            engine = server.engine
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.submitted) == 2)
            refusals = [
                await server.post(PATH, {"prompt": "one more", "stream": is_streaming})
                for is_streaming in (True, False)
            ]
            async with server.http.get(server.url("/health")) as health:
                assert health.status == 200, "full is not ill"
            writers[0].close()
            assert await asyncio.to_thread(engine.wait_for, lambda: bool(engine.aborted))
            _, writer = await request_bytes(server, ENDLESS)
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.submitted) == 3)
            for each in (*writers[1:], writer):
                each.close()
            return refusals

    for status, reply in asyncio.run(main()):
        assert status == 503
        assert reply["error"]["type"] == "server_error"
        assert reply["error"]["message"] == (
            "2 requests run or wait, as many as this server takes (max_num_seqs + max_waiting); "
            "send it again later"
        )


@pytest.mark.parametrize("is_streaming", [True, False])
def test_a_burst_takes_no_more_places_than_there_are(is_streaming, monkeypatch):
    """A stream's headers are sent before its request is submitted: others must not slip in."""
    real = EventStream.open

    async def slow_open(stream):
        await asyncio.sleep(0.05)
        await real(stream)

    monkeypatch.setattr(EventStream, "open", slow_open)

    async def main():
        async with served(scripted(step_limit=5), max_live=3) as server:
            engine = server.engine
            body = {**ENDLESS, "stream": is_streaming}
            opened = await asyncio.gather(*(request_bytes(server, body) for _ in range(9)))
            lines = [asyncio.ensure_future(reader.readline()) for reader, _ in opened]
            while sum(each.done() and b"503" in each.result() for each in lines) < 6:
                waiting = [each for each in lines if not each.done()]
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.submitted) == 3)
            for (_, writer), line in zip(opened, lines, strict=True):
                line.cancel()
                writer.close()
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.aborted) == 3)
            _, writer = await request_bytes(server, body)
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.submitted) == 4)
            writer.close()

    asyncio.run(main())


def test_a_reader_too_slow_for_its_tokens_is_dropped_with_a_line_in_the_log(caplog):
    async def main():
        engine = scripted(tokens_per_step=1000, step_s=0.002)
        async with served(engine, max_unread_bytes=10_000, model=LONG) as server:
            body = {**ENDLESS, "max_tokens": 2_000_000, "stream": True, "return_token_ids": True}
            _, writer = await request_bytes(server, body)
            engine = server.engine
            was_aborted = await asyncio.to_thread(engine.wait_for, lambda: bool(engine.aborted))
            writer.close()
            return was_aborted

    with caplog.at_level(logging.WARNING):
        assert asyncio.run(main())
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "reads too slowly" in messages[0] and "at most 10000 may" in messages[0]


def test_a_client_of_http_1_0_gets_its_events_unframed():
    async def main():
        async with served() as server:
            body = {"prompt": "ab", "stream": True}
            reader, writer = await request_bytes(server, body, version="1.0")
            answer = await reader.read(-1)
            writer.close()
            return answer

    head, _, events = asyncio.run(main()).partition(b"\r\n\r\n")
    assert b"chunked" not in head.lower()
    lines = events.split(b"\n\n")
    assert [line[:6] for line in lines[:-1]] == [b"data: "] * 4
    assert lines[-2:] == [b"data: [DONE]", b""]


def test_a_dead_engine_ends_streams_with_an_error_event_and_answers_with_500():
    async def main():
        async with served(scripted(step_limit=3)) as server:
            engine = server.engine
            stream = asyncio.create_task(server.events(PATH, ENDLESS))
            whole = asyncio.create_task(server.post(PATH, ENDLESS))
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.submitted) == 2)
            engine.fail(RuntimeError("out of memory"))
            events, answer = await stream, await whole
            later = await server.post(PATH, ENDLESS)
            async with server.http.get(server.url("/health")) as response:
                return events, answer, later, (response.status, await response.json())

    events, (status, reply), (later, _), (health, health_reply) = asyncio.run(main())
    assert events[-1]["error"]["message"].startswith("the engine died")
    assert "[DONE]" not in events
    assert (status, reply["error"]["type"]) == (500, "server_error")
    assert later == 503
    assert health == 503
    assert health_reply["error"]["message"].startswith("the engine died")


def test_the_openai_client_raises_when_the_engine_dies_within_a_stream():
    async def main():
        async with (
            served(scripted(step_limit=2)) as server,
            openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client,
        ):
            chunks = await client.completions.create(model="bytes", **prompt(), stream=True)
            with pytest.raises(openai.APIError, match="the engine died"):
                async for _ in chunks:
                    server.engine.fail(RuntimeError("gone"))

    def prompt():
        return {"prompt": "abcdefgh", "max_tokens": 8}

    asyncio.run(main())


def test_health_is_fine_while_the_engine_runs():
    async def main():
        async with served() as server, server.http.get(server.url("/health")) as response:
            return response.status, await response.json()

    assert asyncio.run(main()) == (200, {"status": "ok"})


def test_ending_the_app_tells_open_streams_and_stops_the_engine():
    async def main():
        async with served(scripted(step_limit=3)) as server:
            engine = server.engine
            stream = asyncio.create_task(server.events(PATH, ENDLESS))
            assert await asyncio.to_thread(engine.wait_for, lambda: len(engine.batch_sizes) == 3)
            leaving = server
        return await stream, leaving.engine

    events, engine = asyncio.run(main())
    assert events[-1]["error"]["message"].startswith("the server is shutting down")
    assert engine.is_stopped
    assert engine.aborted == [engine.submitted[0].request_id]


def test_tokens_that_cannot_be_shown_fail_their_own_request_only(caplog):
    """Token 999 is no byte: this engine breaks its word for one of two requests."""

    def answer(request):
        return [999] if request.prompt_token_ids == [1] else list(b"fine")

    async def main():
        async with served(scripted(answer=answer)) as server:
            return await asyncio.gather(
                server.post(PATH, {"prompt": [1]}), server.post(PATH, {"prompt": [2]})
            )

    (broken, _), (fine, reply) = asyncio.run(main())
    assert broken == 500
    assert (fine, reply["choices"][0]["text"]) == (200, "fine")
    assert "could not be delivered" in caplog.text


def test_a_request_before_the_engine_runs_is_told_to_retry():
    app = create_app(MODEL, ScriptedEngine)
    with pytest.raises(Exception, match="the engine is starting; retry") as refused:
        app[BRIDGE].check_open()
    assert refused.value.status == 503
