"""Exit codes and errors that need no engine."""

from __future__ import annotations

import errno

import pytest
from typer.testing import CliRunner

from suite.cli import app
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, write_run


@pytest.mark.parametrize(("status", "exit_code"), [("complete", 0), ("interrupted", 4)])
def test_an_incomplete_run_passes_no_gate(tmp_path, status, exit_code):
    run = write_run(tmp_path, {"fast": FAST}, gates=("counts.failed <= 0",))
    manifest = Manifest.read(run)
    trials = [trial.model_copy(update={"status": status}) for trial in manifest.trials]
    manifest.model_copy(update={"trials": trials}).write(run)
    judged = CliRunner().invoke(app, ["gate", str(run)])
    assert "PASS" in judged.stdout
    assert judged.exit_code == exit_code
    assert ("could not be completed" in judged.stderr) == (status != "complete")


def test_a_shell_can_complete_the_commands():
    asked = {"_FSBENCH_COMPLETE": "complete_bash", "COMP_WORDS": "fsbench ca", "COMP_CWORD": "1"}
    found = CliRunner().invoke(app, env=asked, prog_name="fsbench")
    assert found.stdout.split() == ["capacity", "calibrate"]


def ended(*arguments):
    """The exit code of the whole app, errors turned into lines."""
    with pytest.raises(SystemExit) as ending:
        app(list(arguments))
    return ending.value.code


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("gate",), "fsbench: missing argument 'RUN'; see fsbench gate --help\n"),
        (
            ("compare", "a", "--format", "x"),
            "fsbench: invalid value for '--format': 'x' is",
        ),
        (("gatee",), "fsbench: no such command 'gatee'. Did you mean 'gate'?; see fsbench --help"),
        (("run", "--set"), "fsbench: option '--set' requires an argument; see fsbench --help\n"),
        (("export", "r", "--out", "/"), "fsbench: invalid value for '--out': file '/' is a"),
    ],
)
def test_a_wrong_call_is_told_in_one_line(capsys, arguments, said):
    assert ended(*arguments) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(said)


def test_a_reader_that_left_is_no_missed_gate(tmp_path, monkeypatch):
    def show(*_, **__):
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("suite.cli.judging.typer.echo", show)
    run = write_run(tmp_path, {"fast": FAST}, gates=("counts.failed <= 0",))
    assert ended("gate", str(run), "--format", "json") == 4


def test_without_a_command_the_help_is_shown(capsys):
    assert ended() == 2
    out, err = capsys.readouterr()
    assert "Exit codes: 0 fine" in out + err
    assert "see fsbench" not in err


def examine_raising(monkeypatch, error):
    def examine():
        raise error

    monkeypatch.setattr("suite.doctor.machine.examine", examine)


def test_a_full_disk_is_told_in_one_line_and_is_no_bad_input(monkeypatch, capsys):
    examine_raising(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    assert ended("doctor") == 4
    assert capsys.readouterr().err == "fsbench: the disk is full; free some space and try again\n"


def test_a_defect_of_fsbench_is_no_missed_gate(monkeypatch, capsys):
    examine_raising(monkeypatch, KeyError("bronze"))
    assert ended("doctor") == 4
    *trace, last = capsys.readouterr().err.splitlines()
    assert "KeyError: 'bronze'" in trace
    assert last.startswith("fsbench: this is a defect of fsbench")


def test_a_run_whose_records_have_gone_is_not_judged_by_the_rest(tmp_path):
    run = write_run(tmp_path, {"fast": FAST}, repeats=2, gates=("counts.failed <= 0",))
    (run / "fast/2/turns.parquet").unlink()
    judged = CliRunner().invoke(app, ["gate", str(run), "--format", "markdown"])
    assert judged.exit_code == 4
    assert f"that had been recorded cannot be found in {run}" in judged.stdout


def test_a_damaged_file_of_a_run_is_named(tmp_path, capsys):
    run = write_run(tmp_path, {"fast": FAST}, repeats=1, gates=("counts.failed <= 0",))
    turns = run / "fast/1/turns.parquet"
    turns.write_bytes(turns.read_bytes()[:1000])
    assert ended("gate", str(run)) == 2
    assert capsys.readouterr().err.startswith(f"fsbench: {turns}: is damaged (")
