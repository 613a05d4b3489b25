from __future__ import annotations

import socket

from suite.driver.link import ParentEnd, Report, StopOrder, WorkerEnd


def linked() -> tuple[ParentEnd, WorkerEnd]:
    ours, theirs = socket.socketpair()
    return ParentEnd(ours), WorkerEnd(theirs.detach())


def test_reports_come_up_whole_and_in_order() -> None:
    parent, worker = linked()
    reports = [Report(kind="progress", num_done=k, ttft_s=[0.5] * k) for k in range(3)]
    for report in reports:
        worker.send(report)
    assert parent.receive() == reports
    assert parent.receive() == []
    assert not parent.is_closed
    worker.close()
    assert parent.receive() == []
    assert parent.is_closed
    parent.close()


def test_a_parent_that_does_not_read_delays_nobody_and_loses_nothing() -> None:
    parent, worker = linked()
    big = Report(kind="progress", ttft_s=[0.123456789] * 10_000)
    for _ in range(20):  # far more than the socket holds
        worker.send(big)
    received: list[Report] = []
    while len(received) < 20:
        received += parent.receive()
        worker.send(Report(kind="progress"))
    assert received[:20] == [big] * 20
    worker.close()
    parent.close()


def test_a_reason_to_stop_goes_down() -> None:
    parent, worker = linked()
    order = StopOrder(reason="the engine died", source="server")
    parent.send_stop(order)
    assert worker.read_stop() == order
    worker.close()
    parent.close()


def test_a_parent_that_is_gone_is_a_reason_to_stop() -> None:
    parent, worker = linked()
    parent.close()
    order = worker.read_stop()
    assert "is gone" in order.reason
    assert order.source == "stop"
    worker.send(Report(kind="progress"))  # to nobody
    worker.close()
