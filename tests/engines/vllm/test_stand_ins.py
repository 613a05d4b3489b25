"""The stand-ins are wheels that pip takes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from engines.vllm.install.stand_ins import STAND_INS, main


def test_pip_installs_a_stand_in_that_holds_metadata_only(tmp_path: Path) -> None:
    main(tmp_path / "wheels")
    wheels = sorted((tmp_path / "wheels").glob("*.whl"))
    assert len(wheels) == len(STAND_INS)
    assert all(
        ".dist-info/" in name for path in wheels for name in zipfile.ZipFile(path).namelist()
    )
    target = tmp_path / "site"
    options = ["--no-index", "--no-deps", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target)]
    subprocess.run([*command, str(wheels[-1])], check=True)
    code = "import importlib.metadata as m; print(m.version('vllm'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == STAND_INS["vllm"]
    assert "torch==" in (tmp_path / "wheels/constraints.txt").read_text()
