"""What can be said of a server that is attached to: each mistake is one line, in the file's
words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from engines.base_url import BaseUrl, checked_base_url, joined
from engines.durations import MAX_SECONDS, seconds_of
from engines.openai import OpenAISettings
from suite.playing.preflight import check_files
from suite.playing.workload import load_workload, workload_schema
from workloads.errors import WorkloadError
from workloads.units import parse_duration

BASE = {"kind": "openai", "base_url": "http://127.0.0.1:8000/v1"}


def workload_of(folder: Path, engine: dict[str, Any], **more: Any) -> Path:
    spec = {
        "name": "w",
        "seed": 1,
        "conversations": {
            "source": "fixed",
            "count": 1,
            "turns": 1,
            "prompt_tokens": 5,
            "output_tokens": 5,
        },
        "arrivals": {"process": "closed", "concurrency": 1},
        "users": {"u": {"share": 1, "slo": {"ttft": "1s", "tbt": "1s", "attainment": 0.9}}},
        "engines": {"mine": engine},
        **more,
    }
    path = folder / "w.yaml"
    path.write_text(yaml.safe_dump(spec, sort_keys=False))
    return path


def refusal(folder: Path, engine: dict[str, Any], **more: Any) -> str:
    with pytest.raises(WorkloadError) as caught:
        load_workload(workload_of(folder, engine, **more))
    message = str(caught.value)
    assert "\n" not in message and message.startswith(f"{folder}/w.yaml: ")
    return message.removeprefix(f"{folder}/w.yaml: ")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"base_url": "127.0.0.1:8000"}, "engines.mine.base_url must be written like http://127"),
        ({"base_url": "http://"}, "base_url must be written like http://127.0.0.1:8000/v1, got 'h"),
        ({"base_url": "http://h:99999/v1"}, "base_url must be written like http://127.0.0.1:8000"),
        ({"base_url": "http://u:p@h:x/v1"}, "got 'http://***@h:x/v1'"),
        ({"base_url": "http://h/v1\n"}, "without blanks, got 'http://h/v1\\n'"),
        ({"base_url": "http://h/v1#x"}, "base_url must not have a #, which no server sees"),
        ({"base_url": "http://h/v1/chat/completions?v=1"}, "write http://h/v1?v=1"),
        ({"base_url": "http://h/${user_id}"}, "is the same for all requests, got ${user_id} in it"),
        ({"base_urls": ["http://h/v1"]}, "base_url and base_urls are both given; leave one of"),
        ({"base_url": None}, "base_url is missing; write the server's, e.g. http://127.0.0.1:8000"),
        ({"base_url": None, "base_urls": []}, "base_urls must have 1 or more entries, got []"),
        (
            {"base_url": None, "base_urls": ["http://h/v1"] * 2},
            "base_urls names a server twice; name each once",
        ),
        ({"balance": "random"}, "balance must be 'conversation' or 'round_robin', got 'random'"),
        ({"headers": {"Connection": "close"}}, "headers can not set Connection: connections are"),
        ({"headers": {"A B": "x"}}, "has a name that no header can have, 'A B'; write letters"),
        ({"headers": {"a": "x", "A": "y"}}, "headers names a and A, which are one; leave one of"),
        ({"headers": {"X": "a\nb"}}, "headers X holds a line break at place 2 of 3, which no head"),
        ({"headers": {"X": "é"}}, "headers X holds the character '\\xe9' at place 1 of 1"),
        ({"headers": {"X": "${usr_id}"}}, "headers X has ${usr_id}, which is unknown; choose one"),
        ({"headers": {"X": 5}}, "engines.mine.headers.X must be text, got 5; put it in quotes"),
        ({"headers": {"X": "${priority}"}}, "mine sends ${priority}, and the workload has none"),
        ({"extra_body": {"a": ["${x}"]}}, "engines.mine.extra_body has ${x}, which is unknown"),
        ({"extra_body": {"a": "x" * 70_000}}, "extra_body must be of 65,536 bytes at most as JSON"),
        ({"extra_body": {"a": [{"b": float("nan")}]}}, "extra_body holds a number that is not fin"),
        ({"extra_body": {"a": float("-inf")}}, "extra_body holds a number that is not finite, wh"),
        ({"rename": {"max_token": "x"}}, "rename names 'max_token', which fsbench does not send; "),
        ({"rename": {"max_tokens": ""}}, "rename has no new name for max_tokens; to leave it out"),
        ({"rename": {"max_tokens": "model"}}, "gives a field the name 'model', which is another"),
        (
            {"rename": {"max_tokens": "a", "model": "a"}},
            "rename gives two fields the name 'a'; give each its own",
        ),
        ({"omit": ["stream"]}, "omit can not leave out stream: tokens are timed as they stream"),
        ({"omit": ["ignore_eos"]}, "omit can not leave out ignore_eos: write ignore_eos: false"),
        (
            {"omit": ["model"], "rename": {"model": "m"}},
            "rename and omit both name model; leave it in one of them",
        ),
        (
            {"omit": ["temperature"], "extra_body": {"temperature": 1}},
            "omit leaves out temperature, which extra_body adds; leave one out",
        ),
        (
            {"rename": {"max_tokens": "n"}, "extra_body": {"n": 1}},
            "extra_body adds n, the new name of max_tokens; to set it, omit max_tokens instead",
        ),
        ({"tls": {"verify": False}}, "tls is for https, and the server has a URL with http://"),
        ({"tls": {"verfy": False}}, "engines.mine.tls.verfy is unknown; did you mean verify?"),
        (
            {"base_url": "https://h/v1", "tls": {"verify": False, "ca_file": "x"}},
            "engines.mine.tls.ca_file has no effect with verify: false, got 'x'; leave one of them",
        ),
        ({"wait_ready": 120}, "wait_ready is without unit, got 120; write it like 120s, 2m or 500"),
        ({"wait_ready": "2 minutes"}, "wait_ready must be written like 120s, 2m or 500ms, got '2"),
        ({"check_model": False}, "check_model: false needs the model's name; set model"),
        ({"api_key_env": "sk-123"}, "must be the name of an environment variable (letters, digit"),
        (
            {"api_key_env": "KEY", "headers": {"authorization": "x"}},
            "headers.authorization and api_key_env both say who asks (Authorization); leave one",
        ),
        (
            {"api_key_env": "KEY", "base_url": "http://u:p@h/v1"},
            "api_key_env and the URL's user both say who asks (Authorization)",
        ),
        ({"proxy": "https://h:1"}, "engines.mine.proxy must be written like http://HOST:PORT, got"),
        ({"proxy": "http://h:1/x"}, "proxy must be written like http://HOST:PORT, without a path"),
        ({"metrics_url": "/metrics"}, "metrics_url must be written like http://127.0.0.1:8000/met"),
        ({"count_tokens": "guess"}, "count_tokens must be 'auto', 'usage', 'tokenize' or 'words'"),
        ({"tokenizer": "/none"}, "tokenizer: /none is no folder with a tokenizer.json; name one"),
        ({"tokenizer": "/x/tokenizer.json"}, "tokenizer: /x/tokenizer.json is not there; name"),
    ],
)
def test_each_mistake_is_one_line(fields: dict[str, Any], says: str, tmp_path: Path) -> None:
    assert says in refusal(tmp_path, {**BASE, **fields})


def test_a_mistaken_key_is_not_shown(tmp_path: Path) -> None:
    assert "sk-123" not in refusal(tmp_path, {**BASE, "api_key_env": "sk-123"})


HOST = st.from_regex(r"[a-z][a-z0-9]{0,8}", fullmatch=True)
PATH = st.lists(HOST, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
PLAIN = st.text(st.characters(codec="ascii", categories=("L", "N")), min_size=1, max_size=8)


@given(host=HOST, port=st.integers(1, 65535), path=PATH, query=PLAIN | st.just(""), user=PLAIN)
def test_a_url_is_taken_apart_and_put_together(
    host: str, port: int, path: str, query: str, user: str
) -> None:
    mark = f"?v={query}" if query else ""
    url = checked_base_url(f"http://{user}:p@{host}:{port}{path}{mark}")
    found = BaseUrl.from_text(url, {})
    assert found.text == f"http://{host}:{port}{path}{mark}"
    assert found.authorization is not None
    assert joined(found.text, "/models") == f"http://{host}:{port}{path}/models{mark}"


@given(text=st.text())
def test_what_is_no_url_is_refused_in_words(text: str) -> None:
    try:
        checked_base_url(text)
    except ValueError as error:
        assert str(error)
    else:
        assert text.startswith(("http://", "https://", "HTTP", "HTTPS", "Http"))


@given(
    number=st.decimals(0, 10**6, places=3).map(str),
    unit=st.sampled_from(["us", "ms", "s", "m", "h", "", "d"]),
    blank=st.sampled_from(["", " ", "  "]),
)
def test_durations_are_those_of_the_workload_file(number: str, unit: str, blank: str) -> None:
    text = f"{number}{blank}{unit}"
    try:
        meant = parse_duration(text)
    except ValueError:
        meant = None
    if meant is None or meant > MAX_SECONDS:
        with pytest.raises(ValueError, match=r"must be (written like 120s|≤ 24h)"):
            seconds_of(text)
    else:
        assert seconds_of(text) == pytest.approx(meant, abs=1e-6)


@given(seconds=st.integers(0, MAX_SECONDS * 10**6).map(lambda micro: micro / 1e6))
def test_a_duration_is_written_as_it_is_read(seconds: float) -> None:
    settings = OpenAISettings(base_url="http://h/v1", wait_ready=f"{seconds:.6f}s")
    again = OpenAISettings(**settings.model_dump(mode="json", by_alias=True))
    assert again == settings


# ------------------------------------------------------------------- defaults.engines


def test_engines_share_defaults_and_their_own_values_win(tmp_path: Path) -> None:
    defaults = {"engines": {"kind": "openai", "api": "chat", "headers": {"X": "1"}}}
    engines = {
        "a": {"base_url": "http://a/v1"},
        "b": {"base_url": "http://b/v1", "api": "completions", "headers": {"Y": "2"}},
    }
    path = workload_of(tmp_path, {}, defaults=defaults, engines=engines)
    workload = load_workload(path)
    a, b = workload.engines["a"], workload.engines["b"]
    assert isinstance(a, OpenAISettings) and isinstance(b, OpenAISettings)
    assert (a.api, a.headers) == ("chat", {"X": "1"})
    assert (b.api, b.headers) == ("completions", {"Y": "2"})
    assert "defaults" not in workload.as_json()
    assert workload.as_json()["engines"]["a"]["api"] == "chat"
    again = load_workload(path, ["defaults.engines.api=completions"])
    assert again.engines["a"].model_dump()["api"] == "completions"


@pytest.mark.parametrize(
    ("defaults", "says"),
    [
        ({"engines": {"apy": "chat"}}, "defaults.engines.apy is unknown; did you mean api? (of e"),
        ({"engines": {"api": "chatt"}}, "defaults.engines.api must be 'completions' or 'chat', g"),
        ({"engine": {}}, "defaults.engine is unknown; did you mean engines?"),
        ({"engines": {"tls": {"verfy": 1}}}, "defaults.engines.tls.verfy is unknown; did you mea"),
        ({"engines": {"omit": ["stream"]}}, "defaults.engines.omit can not leave out stream: tok"),
        ({"engines": [1]}, "defaults.engines must be a mapping (key: value), got [1]"),
        ([], "defaults must be a mapping (key: value), got []"),
    ],
)
def test_a_mistake_in_defaults_is_named_there(defaults: Any, says: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, BASE, defaults=defaults).startswith(says)


def test_a_mistake_in_a_default_that_an_override_gave_names_it(tmp_path: Path) -> None:
    path = workload_of(tmp_path, BASE)
    with pytest.raises(WorkloadError, match=r"^--set defaults\.engines\.apy=x: defaults\.engines"):
        load_workload(path, ["defaults.engines.apy=x"])


def test_the_schema_knows_every_key_and_where_defaults_relieve_an_engine() -> None:
    schema = workload_schema()
    [openai] = [
        each
        for each in schema["properties"]["engines"]["additionalProperties"]["anyOf"]
        if each["title"] == "OpenAISettings"
    ]
    keys = {field.alias or name for name, field in OpenAISettings.model_fields.items()}
    assert openai["properties"].keys() == keys and "check_model" in keys
    assert openai["required"] == []
    assert "stream_options" in openai["properties"]["omit"]["items"]["enum"]
    assert "max_tokens" in openai["properties"]["rename"]["propertyNames"]["enum"]
    in_defaults = schema["$defs"]["DefaultsSpec"]["properties"]["engines"]["anyOf"]
    assert openai in in_defaults
    strict = schema["then"]["properties"]["engines"]["additionalProperties"]["oneOf"]
    assert all("kind" in each["required"] for each in strict)
    assert schema["if"] == {"not": {"required": ["defaults"]}}
    used = {each.split("/")[-1] for each in _references(schema)}
    assert used <= schema["$defs"].keys()


def _references(schema: Any) -> list[str]:
    if isinstance(schema, dict):
        own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
        return own + [each for value in schema.values() for each in _references(value)]
    if isinstance(schema, list):
        return [each for value in schema for each in _references(value)]
    return []


def test_certificates_that_are_not_there_are_noticed_before_anything_is_asked(
    tmp_path: Path,
) -> None:
    """Not when the file is loaded: a run's report is written anew where they never were."""
    tls = {"tls": {"ca_file": str(tmp_path / "company.pem")}}
    path = workload_of(tmp_path, {**BASE, "base_url": "https://127.0.0.1:8000/v1", **tls})
    engines = load_workload(path).engines
    with pytest.raises(WorkloadError, match=r"engines\.mine: tls\.ca_file .* is not there; name"):
        check_files(engines, path)
    (tmp_path / "company.pem").write_text("no certificate")
    with pytest.raises(WorkloadError, match="holds no certificates"):
        check_files(engines, path)
