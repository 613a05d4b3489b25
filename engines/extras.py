"""How to install what only some need: the optional dependencies of fsbench, as one command."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def install_command(extra: str) -> str:
    """Returns a command that installs the packages of an extra, also where fsbench itself came from
    no package index."""
    try:
        needed = requires("fsbench") or []
    except PackageNotFoundError:  # this code was not installed: then it lies in its checkout
        return f"pip install '{CHECKOUT}[{extra}]'"
    of_extra = re.compile(rf"extra == ['\"]{re.escape(extra)}['\"]")
    packages = [each.partition(";")[0].strip() for each in needed if of_extra.search(each)]
    assert packages, f"fsbench has no extra {extra!r}"
    return " ".join(["pip install", *(f"'{each}'" for each in packages)])
