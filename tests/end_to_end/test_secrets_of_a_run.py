"""No key, no password and no secret header is in any file of a run, of a sweep, or of an export,
whatever the server says back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.end_to_end.command import finish, only_run, start, workload
from tests.recording_server import Got, recording_server

SECRETS = {
    "KEY": "sk-env-secret-1",
    "TEAM_TOKEN": "team-secret-2",
    "PASSWORD": "url-secret-3",
    "BODY": "body-secret-4",
}
LITERAL = "literal-secret-5"
PROXY = "proxy-secret-6"
IN_QUERY = "query-secret-7"
ENVIRONMENT = ["env", *(f"{name}={value}\n" for name, value in SECRETS.items())]


def spec_of(base_url: str, **more: Any) -> dict[str, Any]:
    engine = {
        "kind": "openai",
        "base_url": f"{base_url}?key={IN_QUERY}&api-version=1",
        "api": "chat",
        "api_key_env": "KEY",
        "headers": {
            "X-Team-Token": "${env:TEAM_TOKEN}",
            "api-key": LITERAL,
            "X-User": "${user_id}",
        },
        "extra_body": {"note": "${env:BODY}", "user": "${user_id}"},
    }
    conversations = {
        "source": "fixed",
        "count": 8,
        "turns": 2,
        "prompt_tokens": 20,
        "output_tokens": 3,
    }
    given = {"conversations": conversations, "priorities": {"pattern": "none"}, "stop": None}
    return workload(engines={"mine": engine}, **given, **more)


def echo(got: Got) -> tuple[int, str] | None:
    """Refuses every other user, in words that hold all it was told."""
    user = (got.body or {}).get("user", "")
    if not str(user).endswith(("1", "3", "5")):
        return None
    return 401, f"not you: {got.path} {got.headers} {got.body}"


def files_with(folder: Path, words: list[str]) -> list[str]:
    """Returns what is found where; Parquet is looked into, and names of files are too."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            text = ""
        elif path.suffix == ".parquet":
            text = str(pq.read_table(path).to_pylist()) + str(pq.read_schema(path).metadata)
        else:
            text = path.read_bytes().decode(errors="replace")
        found += [f"{path.relative_to(folder)}: {each}" for each in words if each in text]
        found += [f"{path}: in its name" for each in words if each in path.name]
    return found


ALL = [*SECRETS.values(), LITERAL, PROXY, IN_QUERY]


def test_no_file_of_a_run_its_report_or_its_export_has_a_secret(tmp_path: Path) -> None:
    with recording_server(refusal=echo) as server:
        spec = spec_of(server.base_url)
        said = finish(
            start(["run", "w.yaml", "--workers", "2"], tmp_path, spec, through=ENVIRONMENT)
        )
        got = [each for each in server.asked if each.headers["x-user"] != "fsbench"]
        told = str([(each.path, each.headers, each.body) for each in got])
    assert all(each in told for each in ALL if each not in (PROXY, SECRETS["PASSWORD"])), told
    run = only_run(tmp_path)
    (tmp_path / "w.yaml").unlink()  # the user's own
    for arguments in (
        ["export", str(run), "--out", "turns.csv"],
        ["report", str(run)],
    ):
        out = finish(start(arguments, tmp_path))
        (tmp_path / "said.txt").write_text(f"{said}{out}")
        assert out[0] in (0, 1, 3, 4), out
    assert "not you" in (run / "metrics.json").read_text()  # the server's words are there
    assert files_with(tmp_path, ALL) == []


def test_a_url_with_a_password_works_and_is_written_nowhere(tmp_path: Path) -> None:
    password = SECRETS["PASSWORD"]
    with recording_server() as server:
        url = server.base_url.replace("//", f"//me:{password}@")
        small = ["--set", "conversations.count=2", "--set", "conversations.max_turns=1"]
        quick = ["--set", "conversations.length_scale=0.02"]
        code, out, err = finish(start(["run", url, *small, *quick], tmp_path))
        assert code == 0, out + err
        assert {each.headers["authorization"] for each in server.got} == {
            "Basic bWU6dXJsLXNlY3JldC0z"
        }
    (tmp_path / "said.txt").write_text(out + err)
    assert files_with(tmp_path, [password, "bWU6dXJsLXNlY3JldC0z"]) == []
    code, _, err = finish(start(["init", url], tmp_path))
    assert code == 2 and "is not written into a file" in err and password not in err
    assert not (tmp_path / "server.yaml").exists()


def test_no_file_of_a_sweep_has_a_secret(tmp_path: Path) -> None:
    with recording_server() as server:
        spec = spec_of(server.base_url)
        spec["engines"]["mine"]["base_url"] = server.base_url
        url = server.base_url.replace("//", f"//me:{SECRETS['PASSWORD']}@")
        del spec["engines"]["mine"]["api_key_env"]
        spec["conversations"] |= {"count": 2, "turns": 1}
        spec["matrix"] = {
            "engines.mine.base_url": [url, f"{server.base_url}?key={IN_QUERY}"],
        }
        code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec, through=ENVIRONMENT))
        assert code == 0, out + err
    (tmp_path / "w.yaml").unlink()
    assert files_with(tmp_path, ALL) == []
    assert len(list(tmp_path.glob("runs/*/cells/*/manifest.json"))) == 2


@pytest.mark.parametrize("variable", ["KEY", "BODY"])
def test_what_the_environment_lacks_is_told_before_anything_is_left(
    variable: str, tmp_path: Path
) -> None:
    given = [each for each in ENVIRONMENT if not each.startswith(f"{variable}=")]
    spec = spec_of("http://127.0.0.1:9/v1")
    code, out, err = finish(start(["run", "w.yaml"], tmp_path, spec, through=given))
    assert (code, out) == (2, "")
    assert f"the environment variable {variable} is not set; export it" in err
    assert "Traceback" not in err and not (tmp_path / "runs").exists()
