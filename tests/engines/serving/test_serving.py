"""The served process: its ready file, its port, its end."""

import http.client
import json
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from engines.errors import EngineInputError
from engines.serving.serve import bind

ROOT = Path(__file__).parents[3]
BODY = json.dumps({"prompt": "hello", "max_tokens": 20})


@contextmanager
def process(tmp_path, *, host="127.0.0.1", port=0, key="-", engine="quick"):
    ready_file = tmp_path / "ready.json"
    arguments = [host, str(port), str(ready_file), key, engine]
    command = [sys.executable, "-m", "tests.engines.serving.serve_scripted", *arguments]
    child = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    try:
        yield child, ready_file
    finally:
        child.kill()
        child.communicate()


def port_of(child, ready_file):
    """Waits for the ready file, which must be whole from the first look."""
    while not ready_file.exists():
        assert child.poll() is None, child.communicate()
        time.sleep(0.01)
    ready = json.loads(ready_file.read_text())
    assert ready["pid"] == child.pid
    return ready["port"]


def ask(port, method, path, body=None, key=None):
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        headers = {"Content-Type": "application/json"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_answers_once_the_ready_file_is_there_and_ends_with_0_when_told(tmp_path, number):
    with process(tmp_path) as (child, ready_file):
        port = port_of(child, ready_file)
        assert ask(port, "GET", "/health") == (200, {"status": "ok"})
        status, reply = ask(port, "POST", "/v1/completions", BODY)
        assert (status, reply["choices"][0]["text"]) == (200, "hello")
        child.send_signal(number)
        _, errors = child.communicate(timeout=120)
        assert (child.returncode, errors) == (0, "")
        assert list(tmp_path.iterdir()) == [ready_file]


def test_a_stop_with_an_open_stream_tells_the_client_and_ends_with_0(tmp_path):
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    with process(tmp_path, engine="slow") as (child, ready_file):
        port = port_of(child, ready_file)
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", "/v1/completions", json.dumps(body), headers)
            response = connection.getresponse()
            assert response.readline().startswith(b'data: {"id"')
            child.send_signal(signal.SIGTERM)
            last_event = response.read().rstrip().rpartition(b"data: ")[2]
        assert "shutting down" in json.loads(last_event)["error"]["message"]
        _, errors = child.communicate(timeout=120)
        assert (child.returncode, errors) == (0, "")


@pytest.mark.parametrize("last_words", [b'"text"', b'"finish_reason":"', b"[DONE]"])
def test_clients_that_leave_before_the_body_ends_leave_no_traceback(tmp_path, last_words):
    """Twenty each, at the first token, the last one, and between it and the terminating chunk."""
    body = json.dumps({"prompt": "abc", "stream": True}).encode()
    head = (
        b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    reset = struct.pack("ii", 1, 0)
    with process(tmp_path, engine="slow") as (child, ready_file):
        port = port_of(child, ready_file)
        for number in range(20):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(head + body)
                received = b""
                while last_words not in received:
                    received += client.recv(65_536)
                if number % 2:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        assert ask(port, "GET", "/health")[0] == 200
        child.terminate()
        _, errors = child.communicate(timeout=60)
    assert errors == ""


def test_an_engine_that_dies_ends_the_process_with_1_and_a_last_line_that_says_why(tmp_path):
    with process(tmp_path, engine="dies at the first request") as (child, ready_file):
        status, reply = ask(port_of(child, ready_file), "POST", "/v1/completions", BODY)
        assert status == 500
        assert reply["error"]["message"].startswith("the engine died")
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 1
        assert errors.splitlines()[-1] == "serve: the engine died: RuntimeError: out of memory"


def test_a_port_that_is_listened_on_is_refused_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with process(tmp_path, port=port) as (child, ready_file):
            _, errors = child.communicate(timeout=120)
            assert child.returncode == 2
            assert errors == (
                f"serve: cannot listen on 127.0.0.1:{port}: address already in use; "
                "choose another port, or 0 for a free one\n"
            )
            assert not ready_file.exists()


def test_a_port_that_another_server_takes_while_the_model_loads_is_refused_too(tmp_path):
    with closing(bind("127.0.0.1", 0, api_key=None)) as ours:
        port = ours.getsockname()[1]
        with process(tmp_path, port=port) as (child, ready_file):
            assert port_of(child, ready_file) == port
            with process(tmp_path, port=port) as (second, _):
                _, errors = second.communicate(timeout=120)
                assert second.returncode == 2
                assert "address already in use" in errors


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.7", "example.org"])
def test_any_other_host_than_loopback_needs_a_key(host):
    with pytest.raises(EngineInputError, match="there is no key; give --api-key KEY"):
        bind(host, 0, api_key=None)


def test_with_a_key_it_serves_every_interface(tmp_path):
    with process(tmp_path, host="0.0.0.0", key="k-1") as (child, ready_file):
        port = port_of(child, ready_file)
        assert ask(port, "GET", "/v1/models")[0] == 401
        assert ask(port, "GET", "/v1/models", key="k-1")[0] == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.8.8.8"])
def test_loopback_needs_no_key(host):
    with closing(bind(host, 0, api_key=None)) as listener:
        assert listener.getsockname()[1] > 0


def test_a_host_that_does_not_exist_is_refused_in_one_line():
    with pytest.raises(EngineInputError, match=r"^serve: host no-such-host\.invalid has no"):
        bind("no-such-host.invalid", 80, api_key="k")


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_refused_in_one_line(port):
    with pytest.raises(EngineInputError, match=f"^serve: port must be from 0 to 65535, got {port}"):
        bind("127.0.0.1", port, api_key=None)
