"""The data plane against a real server process whose instants are known."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from engines.api import Endpoint
from engines.promise import Promise
from suite.driver.answer import Answer
from suite.driver.calibrate import endpoint, read_truth, truth_rows
from suite.driver.connection import Exchange, KernelConnection
from suite.driver.data_plane import Shard
from suite.driver.prompt import History
from suite.driver.turn_record import PlayedTurn, turn_record
from suite.records.turn_records import TOGETHER_S, TurnRecord
from tests.suite.driver.conftest import Played, Reads, ScriptedEngine
from workloads.plan import Plan
from workloads.plan_parts import PriorityPattern, PriorityTrace, Turn

MakePlan = Callable[..., Plan]
DriveInProcess = Callable[..., Played]
LEAST_ERROR_S = 0.005  # of the best token: a busy machine delays many, never every one


def asked_bodies(engine: ScriptedEngine, plan: Plan) -> list[dict[str, Any]]:
    """What the server was asked for this plan's conversations, in the order of its answers."""
    ids = {conversation.conversation_id for conversation in plan.conversations}
    rows = [row for row in truth_rows(engine.truth_path) if row["conversation_id"] in ids]
    return [row["body"] | {"turn": row["turn"]} for row in rows]


def test_every_token_has_the_instant_at_which_it_was_written(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.02, 0.04), num_turns=2, num_output_tokens=12)
    played = drive_in_process(plan, engine.endpoint(first_after_s=0.05, gap_s=0.01))
    written_at = read_truth(engine.truth_path)
    errors_s = []
    for record in played.records:
        assert record.error is None
        written = written_at[record.conversation_id, record.turn]
        assert len(record.token_at) == 12
        assert list(record.token_at) == sorted(record.token_at)
        errors_s += list(np.asarray(record.token_at) + played.started_at - np.asarray(written))
        assert record.time_source == "kernel"
    assert len(played.records) == 6
    assert -0.001 < min(errors_s) < LEAST_ERROR_S  # nothing arrives before it was written


def test_turns_are_sent_at_their_instants_and_not_before(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.1), num_turns=2, num_output_tokens=2, think_time_s=0.08)
    records = drive_in_process(plan, engine.endpoint()).records
    first = {r.user_id: r for r in records if r.turn == 0}
    second = {r.user_id: r for r in records if r.turn == 1}
    assert [first[user].scheduled_at for user in ("u0", "u1")] == [0.0, 0.1]
    for user, record in second.items():
        done_at = first[user].done_at
        assert done_at is not None
        assert record.scheduled_at == pytest.approx(done_at + 0.08, abs=1e-6)
    for record in records:
        assert record.sent_at is not None
        assert record.sent_at >= record.scheduled_at


def test_a_turn_that_follows_an_answer_is_due_once_the_client_could_have_digested_it(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(starts_at_s=(0.0,) * 3, num_turns=3, closed_concurrency=1)
    records = drive_in_process(plan, engine.endpoint()).records
    for before, after in pairwise(records):
        assert before.done_at is not None
        assert after.planned_at == before.done_at  # also that of the next conversation
        assert after.scheduled_at > after.planned_at  # the client's own time
        assert after.sent_at is not None
        assert after.sent_at >= after.scheduled_at  # lateness is what comes on top


def test_what_the_client_takes_to_digest_an_answer_is_no_lateness(
    engine: ScriptedEngine,
    make_plan: MakePlan,
    drive_in_process: DriveInProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hear = History.hear

    def hear_slowly(history: History, answer: Answer, following: Turn | None) -> None:
        hear(history, answer, following)
        time.sleep(0.03)

    monkeypatch.setattr(History, "hear", hear_slowly)
    records = drive_in_process(make_plan(num_turns=6), engine.endpoint()).records[1:]
    own_s = [record.scheduled_at - (record.planned_at or 0.0) for record in records]
    lag_s = [(record.sent_at or 0.0) - record.scheduled_at for record in records]
    assert min(own_s) >= 0.03
    assert min(lag_s) < 0.03  # a busy machine delays many, never every one


def test_turns_are_written_down_after_the_next_one_was_sent(
    engine: ScriptedEngine,
    make_plan: MakePlan,
    drive_in_process: DriveInProcess,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[str] = []
    start = KernelConnection.start

    def start_and_tell(connection: KernelConnection, request: bytes, exchange: Exchange) -> None:
        start(connection, request, exchange)
        begun.append("sent")

    def record_and_tell(played: PlayedTurn, started_at_ns: int) -> TurnRecord:
        begun.append("recorded")
        return turn_record(played, started_at_ns)

    monkeypatch.setattr(KernelConnection, "start", start_and_tell)
    monkeypatch.setattr("suite.driver.data_plane.turn_record", record_and_tell)
    drive_in_process(make_plan(num_turns=3), engine.endpoint())
    assert begun == ["sent", "sent", "recorded", "sent", "recorded", "recorded"]


def test_a_turn_after_a_pause_is_due_at_its_end(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(num_turns=3, think_time_s=0.08)
    for record in drive_in_process(plan, engine.endpoint()).records:
        assert record.scheduled_at == record.planned_at


def test_the_history_of_token_ids_is_what_the_server_answered(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(num_turns=3, num_output_tokens=4)
    records = drive_in_process(plan, engine.endpoint()).records
    # 7 new ids a turn, and 4 answered ones of each turn before
    assert [record.num_prompt_tokens for record in records] == [7, 18, 29]
    assert [record.num_output_tokens for record in records] == [4, 4, 4]
    assert [record.num_cached_tokens for record in records] == [0, 0, 0]
    assert [record.finish_reason for record in records] == ["length"] * 3


def test_the_engine_is_asked_for_exactly_the_planned_work(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(num_output_tokens=3)
    drive_in_process(plan, engine.endpoint())
    [body] = asked_bodies(engine, plan)
    assert body["max_tokens"] == 3
    assert body["ignore_eos"] is True
    assert body["temperature"] == 0
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert body["return_token_ids"] is True
    assert body["conversation_id"] == plan.conversations[0].conversation_id
    assert "priority" not in body


def test_chat_history_is_kept_as_messages(
    engine: ScriptedEngine,
    make_plan: MakePlan,
    drive_in_process: DriveInProcess,
    as_chat: Callable[[Endpoint], Endpoint],
) -> None:
    plan = make_plan(num_turns=2, num_output_tokens=3, prompt_text="how are you")
    records = drive_in_process(plan, as_chat(engine.endpoint())).records
    assert [record.error for record in records] == [None, None]
    assert [record.num_prompt_tokens for record in records] == [3, 3 + 3 + 3]
    assert [record.tokens_per_chunk for record in records] == [(1, 1, 1)] * 2


def test_an_event_in_two_pieces_counts_from_the_second(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(num_output_tokens=4)
    script = engine.endpoint(splits_events=True, first_after_s=0.05, gap_s=0.04)
    played = drive_in_process(plan, script)
    [record] = played.records
    written = read_truth(engine.truth_path)[record.conversation_id, 0]
    errors_s = np.asarray(record.token_at) + played.started_at - np.asarray(written)
    assert len(errors_s) == 4
    assert min(errors_s) > -0.001  # the first halves came 5 ms earlier


def test_a_stream_that_ends_with_its_connection_is_complete(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(num_turns=2)
    records = drive_in_process(plan, engine.endpoint(is_close_framed=True)).records
    assert [record.error for record in records] == [None, None]


@pytest.mark.parametrize(
    "expected",
    [
        ("error_event", 2, "error in the stream: KV cache lost"),
        ("disconnect", 2, "the server closed the connection before the answer's end"),
        ("no_end", 2, "the stream ended before the answer did (no finish_reason, no [DONE])"),
        ("429", 0, "429 Too Many Requests: slow down (Retry-After: 3)"),
        ("500", 0, "500 Internal Server Error: out of memory"),
        ("plain_json", 0, "expected an event stream, got 'application/json': no stream today"),
    ],
)
def test_a_failed_turn_keeps_its_tokens_and_ends_its_conversation(
    engine: ScriptedEngine,
    make_plan: MakePlan,
    drive_in_process: DriveInProcess,
    expected: tuple[str, int, str],
) -> None:
    fault, num_tokens, message = expected
    plan = make_plan(num_turns=3)
    to = engine.endpoint(fault=fault, fault_turn=1)
    good, bad = drive_in_process(plan, to).records
    assert good.error is None
    assert bad.turn == 1
    assert bad.error == message
    assert bad.tokens_per_chunk == (1,) * num_tokens
    assert bad.sent_at is not None
    assert bad.done_at is not None
    assert bad.done_at >= bad.sent_at


def test_an_answer_that_stalls_is_given_up_and_keeps_its_tokens(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    """Once more, with more patience, where it was the machine that stood still for so long."""
    to = engine.endpoint(fault="stall", fault_turn=1)
    for timeout_s in (1.0, 10.0, 60.0):
        records = drive_in_process(make_plan(num_turns=3), to, turn_timeout_s=timeout_s).records
        assert records[-1].error == f"the answer was not complete after {timeout_s:g} s"
        if [record.tokens_per_chunk for record in records] == [(1,) * 5, (1,) * 2]:
            return
    pytest.fail(f"not the turn that stalls, or not all of its tokens: {records}")


ANSWER = b'data: {"choices": [{"text": "a", "token_ids": [1], "finish_reason": "stop"}]}\n\n'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n"
Converse = Callable[[socket.socket], None]


@contextlib.contextmanager
def server_of(converse: Converse) -> Iterator[tuple[Endpoint, list[int]]]:
    """Each connection in a thread; the list grows by one with each."""
    connections: list[int] = []

    def converse_and_close(connection: socket.socket) -> None:
        with connection, contextlib.suppress(ConnectionError):
            converse(connection)

    def accept(server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed at the end
            while True:
                connection, _ = server.accept()
                connections.append(1)
                threading.Thread(target=converse_and_close, args=(connection,)).start()

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=accept, args=(server,))
        thread.start()
        yield endpoint(server.getsockname()[1], {}), connections
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def answer_one(connection: socket.socket) -> None:
    connection.recv(65_536)
    connection.sendall(HEAD % len(ANSWER) + ANSWER)


def answer_one_and_take_another(connection: socket.socket) -> None:
    answer_one(connection)
    connection.recv(65_536)


def chunk(*token_ids: int) -> bytes:
    choice = {"text": "a" * len(token_ids), "token_ids": token_ids}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n"


def test_chunks_of_several_tokens_and_writes_of_several_chunks_are_told_apart(
    make_plan: MakePlan, drive_in_process: DriveInProcess, reads: Reads
) -> None:
    """Each write waits until the one before was read, and for longer than chunks that come together
    lie apart: no stall makes one of two."""

    def played(*writes: bytes) -> TurnRecord:
        def write_in_step(connection: socket.socket) -> None:
            connection.recv(65_536)
            for data in (HEAD % len(b"".join(writes)), *writes):
                num_bytes = len(reads.data) + len(data)
                connection.sendall(data)
                reads.wait_for(num_bytes)
                time.sleep(2 * TOGETHER_S)

        with server_of(write_in_step) as (to, _):
            [record] = drive_in_process(make_plan(num_output_tokens=8), to).records
        assert record.error is None
        return record

    done = b"data: [DONE]\n\n"
    pairs = played(*[chunk(1, 2)] * 4, done)
    assert pairs.tokens_per_chunk == (2, 2, 2, 2)
    assert pairs.num_coalesced == 0
    bursts = played(*[chunk(1) * 4] * 2, done)
    assert bursts.tokens_per_chunk == (1,) * 8
    assert bursts.num_coalesced == 2
    assert len(set(bursts.token_at)) == 2
    # Each burst was one packet: it is the server that wrote four at once.
    assert (bursts.num_shared_chunks, bursts.num_merged_chunks) == (8, 0)
    assert (pairs.num_shared_chunks, pairs.num_merged_chunks) == (0, 0)


def test_chunks_that_came_apart_and_were_read_together_are_the_drivers(
    make_plan: MakePlan, drive_in_process: DriveInProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The driver stands still in its first read until the server has written all the rest."""
    is_read, is_written, feed = threading.Event(), threading.Event(), Exchange.feed

    def feed_and_stand_still(exchange: Exchange, data: bytes | memoryview, at_ns: int) -> None:
        feed(exchange, data, at_ns)
        is_read.set()
        assert is_written.wait(60)
        time.sleep(0.01)  # the rest lies there for so long

    def write_apart(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.recv(65_536)
        writes = [chunk(1)] * 4
        connection.sendall(HEAD % len(b"".join(writes)) + writes[0])
        assert is_read.wait(60)
        for data in writes[1:]:
            connection.sendall(data)
        is_written.set()

    monkeypatch.setattr(Exchange, "feed", feed_and_stand_still)
    with server_of(write_apart) as (to, _):
        [record] = drive_in_process(make_plan(num_output_tokens=4), to).records
    assert record.tokens_per_chunk == (1,) * 4
    assert (record.num_shared_chunks, record.num_merged_chunks) == (3, 3)


def test_a_request_that_died_with_a_kept_connection_is_sent_once_more(
    make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    """The server answers once on a connection, and hangs up when it is asked there again."""
    with server_of(answer_one_and_take_another) as (to, connections):
        records = drive_in_process(make_plan(num_turns=2), to).records
    assert [record.error for record in records] == [None, None]
    assert len(connections) == 2


def test_a_connection_that_closes_while_the_user_thinks_costs_no_turn(
    make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    """The pause is shorter than the lead: the next turn holds the connection as it closes."""

    def answer_and_leave_soon(connection: socket.socket) -> None:
        answer_one(connection)
        time.sleep(0.015)

    with server_of(answer_and_leave_soon) as (to, connections):
        plan = make_plan(num_turns=2, think_time_s=0.04)
        records = drive_in_process(plan, to).records
    assert [record.error for record in records] == [None, None]
    assert len(connections) == 2


def test_a_stop_sends_nothing_once_more(
    make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    """What waits on a kept connection without a byte of an answer ends there."""

    is_asked_again = threading.Event()

    def answer_one_and_never_another(connection: socket.socket) -> None:
        answer_one_and_take_another(connection)
        is_asked_again.set()
        connection.recv(65_536)  # until the client leaves

    with server_of(answer_one_and_never_another) as (to, connections):
        plan = make_plan(num_turns=2)
        records = drive_in_process(plan, to, stop_when=is_asked_again.is_set).records
    assert [record.error for record in records] == [None, "cut short: enough"]
    assert len(connections) == 1


def test_a_server_that_is_not_there_gives_failed_turns_that_were_never_sent(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    with socket.socket() as taken:  # by one that does not listen: nobody else gets the port
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        to = replace(engine.endpoint(), base_url=f"http://127.0.0.1:{port}/v1")
        [record] = drive_in_process(make_plan(num_turns=2), to).records
    assert record.sent_at is None
    assert record.error is not None
    assert record.error.startswith(f"cannot connect to 127.0.0.1:{port}: ")


def test_a_server_that_hides_its_token_ids_cannot_continue_a_conversation_of_ids(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    to = engine.endpoint(has_token_ids=False)
    [record] = drive_in_process(make_plan(num_turns=2), to).records
    assert "returned no token ids" in (record.error or "")
    [record] = drive_in_process(make_plan(num_turns=1), to).records
    assert record.error is None  # nothing was to be continued


def test_a_stop_records_what_is_in_flight_and_drops_what_waits(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess, reads: Reads
) -> None:
    plan = make_plan(starts_at_s=(0.0, 600.0), num_turns=2)
    to = engine.endpoint(gap_s=600.0)  # after the first token
    [record] = drive_in_process(
        plan, to, turn_timeout_s=600.0, stop_when=lambda: b"token_ids" in reads.data
    ).records
    assert record.error == "cut short: enough"
    assert len(record.token_at) == 1


def test_a_closed_loop_holds_so_many_conversations_at_a_time(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(starts_at_s=(0.0,) * 6, num_output_tokens=3, closed_concurrency=2)
    records = drive_in_process(plan, engine.endpoint()).records
    assert len(records) == 6
    assert most_at_a_time(records) == 2


def test_the_first_conversations_of_a_closed_loop_are_ready_at_the_start(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    """Their connections are made before, so that setting them up is no lag of the driver. Once
    more, with more time before the start, where the machine slept through it."""
    plan = make_plan(starts_at_s=(0.0,) * 4, num_output_tokens=3, closed_concurrency=2)
    for start_in_s in (0.05, 2.0, 30.0):
        records = drive_in_process(plan, engine.endpoint(), start_in_s=start_in_s).records
        if [record.scheduled_at for record in records].count(0.0) == 2:
            return
    pytest.fail(f"not ready at the start: {records}")


def most_at_a_time(records: list[TurnRecord]) -> int:
    begins = [(record.scheduled_at, 1) for record in records]
    ends = [(record.done_at, -1) for record in records if record.done_at is not None]
    most = now = 0
    for _, change in sorted(begins + ends):
        now += change
        most = max(most, now)
    return most


def test_priorities_follow_their_trace_and_start_again_after_its_end(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    trace = PriorityTrace(
        pattern=PriorityPattern.RANDOM,
        num_levels=8,
        update_frequency=0.1,
        update_interval_s=0.1,
        levels=np.array([[1, 2, 3], [4, 5, 6]], dtype=np.uint8),
    )
    plan = make_plan(starts_at_s=(0.0, 0.15, 0.3), num_output_tokens=1, priorities=trace)
    to = replace(engine.endpoint(), takes_priority=True)
    records = drive_in_process(plan, to).records
    assert sorted((r.user_id, r.priority) for r in records) == [("u0", 1), ("u1", 5), ("u2", 6)]
    sent = sorted(body["priority"] for body in asked_bodies(engine, plan))
    assert sent == [1, 5, 6]
    silent = drive_in_process(plan, engine.endpoint()).records
    assert {record.priority for record in silent} == {None}


def test_each_request_says_who_asks_and_what_the_plan_promised(
    engine: ScriptedEngine, make_plan: MakePlan, drive_in_process: DriveInProcess
) -> None:
    plan = make_plan(starts_at_s=(0.0, 0.0), num_output_tokens=1)
    drive_in_process(plan, replace(engine.endpoint(), takes_terms=True))
    bodies = asked_bodies(engine, plan)
    assert sorted(body["user"] for body in bodies) == ["u0", "u1"]
    (promised,) = plan.user_classes
    for body in bodies:
        assert body["user_class"] == promised.name
        assert Promise(**body["slo"]).slo().ttft_s == promised.slo.ttft_s
    drive_in_process(plan, engine.endpoint())
    assert not any("slo" in body for body in asked_bodies(engine, plan)[len(bodies) :])


def test_shards_share_out_every_conversation_and_all_of_the_concurrency(
    make_plan: MakePlan,
) -> None:
    plan = make_plan(starts_at_s=(0.0,) * 7, closed_concurrency=5)
    shards = [Shard.of(plan, worker=worker, num_workers=3) for worker in range(3)]
    indices = [index for shard in shards for index, _ in shard.conversations]
    assert sorted(indices) == list(range(7))
    assert [index for index, _ in shards[1].conversations] == [1, 4]
    assert [shard.closed_concurrency for shard in shards] == [2, 2, 1]
