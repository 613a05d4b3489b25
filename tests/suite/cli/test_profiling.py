"""`fsbench profile`, on tables and runs that are made up."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from engines.simulated.profile import load_profile
from suite.cli import app
from suite.records.run_directory import Manifest
from tests.reports.synthetic_run import FAST, write_run

DENSE = "qkv_proj", "o_proj", "gate_up_proj", "down_proj", "layernorm", "rotary_emb", "act_fn"


def profile(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["profile", *map(str, arguments)])


def test_show_lists_what_is_shipped_and_where_a_constant_comes_from() -> None:
    listed = profile("show")
    assert "a10-llama3-8b: Modelled, not measured" in listed.stdout
    shown = profile("show", "rtx4090-llama31-8b")
    assert "gemm_bytes_per_s             9.123e+11  fitted" in shown.stdout


def test_fit_says_how_far_off_it_is_and_writes_a_profile(tmp_path: Path) -> None:
    table, out = tmp_path / "dense.csv", tmp_path / "mine.yaml"
    rows = [f"{layer},{n},{10 + n / 10}" for layer in DENSE for n in (1, 16, 256, 2048)]
    table.write_text("layer,tokens,time_us\n" + "\n".join(rows) + "\n")
    done = profile("fit", table, "--base", "a10-llama3-8b", "--name", "mine", "--out", out)
    assert done.exit_code == 0, done.output
    assert "products" in done.stdout
    assert "4 rows of dense.csv" in done.stdout
    fitted = load_profile(str(out))
    assert (fitted.name, fitted.step.gemm_flops_per_s.origin) == ("mine", "fitted")
    assert fitted.link == load_profile("a10-llama3-8b").link


def test_measure_fits_to_the_steps_of_a_run(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"fast": FAST})
    manifest = Manifest.read(run)
    settings = {"fast": {**manifest.engines["fast"], "block_size": 16}}
    manifest.model_copy(update={"engines": settings}).write(run)
    out = tmp_path / "here.yaml"
    done = profile("measure", run, "--base", "a10-llama3-8b", "--out", out)
    assert done.exit_code == 0, done.output
    measured = load_profile(str(out)).step.gemm_bytes_per_s
    assert measured.source == f"steps of fast in {run.name}"


def test_measure_refuses_an_engine_that_logs_no_steps(tmp_path: Path) -> None:
    run = write_run(tmp_path, {"fast": FAST})
    refused = profile("measure", run, "--base", "a10-llama3-8b", "--engine", "slow")
    assert "engine must be one that logs a real device's steps (fast), got slow" in (
        str(refused.exception) + refused.stderr
    )
