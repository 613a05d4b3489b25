"""Which code ran: the commit of a checkout, and none where there is no telling."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from suite.playing import environment


def git(folder: Path, *arguments: str) -> str:
    name = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *name, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_the_commit_is_that_of_the_checkout_marked_where_files_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("1")
    git(tmp_path, "add", "a")
    git(tmp_path, "commit", "-qm", "one")
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path)
    assert environment.commit() == git(tmp_path, "rev-parse", "--short=12", "HEAD")
    (tmp_path / "a").write_text("2")
    assert str(environment.commit()).endswith("+")


def test_an_installed_package_has_no_commit_not_even_of_the_checkout_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "site-packages").mkdir()
    monkeypatch.setattr(environment, "CHECKOUT", tmp_path / "site-packages")
    assert environment.commit() is None
