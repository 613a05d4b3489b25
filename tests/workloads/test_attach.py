"""A URL in place of a workload file, and the file that it stands for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workloads.attach import TEMPLATE, attach_source, attach_text, base_url_of
from workloads.errors import WorkloadError
from workloads.spec import spec_of
from workloads.yaml_file import read_yaml


@pytest.mark.parametrize(
    ("text", "base_url"),
    [
        ("http://127.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/v1/", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("HTTPS://api.example.com/v1", "https://api.example.com/v1"),
        ("https://api.example.com/openai/v1/chat/completions", "https://api.example.com/openai/v1"),
        ("http://[::1]:8000/v1/models", "http://[::1]:8000/v1"),
        ("localhost:8000", "http://localhost:8000/v1"),
        ("gpu-box.lan:30000/v1", "http://gpu-box.lan:30000/v1"),
        ("[::1]:8000", "http://[::1]:8000/v1"),
        ("workload.yaml", None),
        ("runs/http", None),
        ("c:x", None),
    ],
)
def test_a_url_is_told_from_a_file(text: str, base_url: str | None) -> None:
    assert base_url_of(text) == base_url


@pytest.mark.parametrize("text", ["http://", "http:/one-slash", "http://h/v1#a", "http://h h/v1"])
def test_what_begins_like_a_url_and_is_none_is_refused(text: str) -> None:
    with pytest.raises(WorkloadError, match=r"must be a URL like http://127\.0\.0\.1:8000/v1"):
        base_url_of(text)


def test_a_file_that_is_named_like_an_address_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "load:8000").write_text("name: x\n")
    assert base_url_of("load:8000") is None


HOSTS = st.from_regex(r"\A[a-z][a-z0-9.-]{0,20}[a-z0-9]\Z")


@given(host=HOSTS, port=st.integers(1, 65535), path=st.sampled_from(["", "/", "/v1", "/api/v1/"]))
def test_the_written_file_says_what_the_url_alone_would_play(
    tmp_path_factory: pytest.TempPathFactory, host: str, port: int, path: str
) -> None:
    base_url = base_url_of(f"http://{host}:{port}{path}")
    assert base_url is not None
    assert base_url_of(base_url) == base_url
    file = tmp_path_factory.mktemp("init") / "server.yaml"
    file.write_text(attach_text(base_url), encoding="utf-8")
    assert read_yaml(file) == attach_source(base_url).raw
    assert spec_of(attach_source(base_url)).engines["server"]["base_url"] == base_url


def test_the_template_stands_alone_and_gates_nothing() -> None:
    assert attach_text(None) == TEMPLATE.read_text(encoding="utf-8")
    spec = spec_of(attach_source("http://127.0.0.1:8000/v1"))
    assert (spec.gates, spec.repeats) == ([], 1)
    assert spec.engines["server"]["kind"] == "openai"
    assert "model" not in spec.engines["server"]  # found from what the server lists


def test_the_keys_that_stand_there_as_comments_are_taken_too(tmp_path: Path) -> None:
    text = attach_text(None)
    for key in ("gates:", "model:", "api_key_env:", "ignore_eos:"):
        assert text.count(f"# {key}") == 1, key
        text = text.replace(f"# {key}", key)
    raw = yaml.safe_load(text)
    spec = spec_of(attach_source("http://127.0.0.1:8000/v1", [f"gates={raw['gates']}"]))
    assert len(spec.gates) == 3
    assert set(raw["engines"]["server"]) >= {"model", "api_key_env", "ignore_eos"}


def test_overrides_come_after_the_url() -> None:
    source = attach_source("http://a:1/v1", ["engines.server.base_url=http://b:2/v1", "seed=9"])
    assert source.raw["engines"]["server"]["base_url"] == "http://b:2/v1"
    assert source.raw["seed"] == 9
