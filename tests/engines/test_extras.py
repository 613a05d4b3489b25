"""The command that installs what an extra needs is one that pip understands."""

from __future__ import annotations

import shlex
import tomllib
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from engines import extras

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("extra", ["engine", "ray"])
def test_every_package_of_the_extra_is_named_and_nothing_else(extra: str) -> None:
    pip, install, *packages = shlex.split(extras.install_command(extra))
    assert (pip, install) == ("pip", "install")
    assert sorted(packages) == sorted(PROJECT["optional-dependencies"][extra])


def test_a_checkout_that_was_never_installed_is_named_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def not_installed(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", not_installed)
    root = Path(__file__).parents[2]
    assert extras.install_command("engine") == f"pip install '{root}[engine]'"


def test_vllm_is_an_extra_of_its_own_that_no_other_brings_along() -> None:
    """It pins another torch than the embedded engine's; `make setup` installs engine and dev."""
    extras_of = PROJECT["optional-dependencies"]
    assert [each.partition(">")[0] for each in extras_of["vllm"]] == ["vllm"]
    for name in set(extras_of) - {"vllm"}:
        assert not any(each.startswith("vllm") for each in extras_of[name]), name
    assert not any(each.startswith("vllm") for each in PROJECT["dependencies"])
