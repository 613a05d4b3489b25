"""What holds for the repository as a whole: its map, its names, what an import costs.

`python -m tests.test_repository` writes the map into README.md.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "## The tree\n\n```\n", "tests/                   mirrors"
PACKAGES = ("suite", "workloads", "engines", "reports")


def remark(path: Path) -> str:
    """The first sentence of a module's docstring, or of a workload file's comment."""
    if path.suffix == ".yaml":
        text = path.read_text().split("\n\n")[0].replace("\n# ", " ").removeprefix("# ")
    else:
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return first.split(". ")[0].rstrip(".")


def tree() -> str:
    """The map: one line a file, folders by depth."""
    lines: list[str] = []
    for package in PACKAGES:
        files = [*(ROOT / package).rglob("*.py"), *(ROOT / package).rglob("*.yaml")]
        shown: set[Path] = set()
        for path in sorted(files, key=lambda path: (path.parent, path.name)):
            if path.name == "__init__.py":
                continue
            folder = path.parent.relative_to(ROOT)
            if folder not in shown:
                shown.add(folder)
                lines.append(f"{folder}/")
            lines.append(f"  {path.name:<22} {remark(path)}")
    return "\n".join(lines)


def with_tree(readme: str) -> str:
    before, rest = readme.split(BEGIN)
    return before + BEGIN + tree() + "\n" + END + rest.split(END)[1]


def test_the_readme_has_a_true_map_of_the_tree() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme == with_tree(readme), "python -m tests.test_repository writes it"


def test_no_other_distribution_owns_our_package_names() -> None:
    owners = packages_distributions()
    assert {name: owners.get(name, ["fsbench"]) for name in PACKAGES} == {
        name: ["fsbench"] for name in PACKAGES
    }


def test_the_command_line_imports_nothing_heavy_before_it_must() -> None:
    code = "import sys, suite.cli; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"torch", "locust", "gevent", "numpy", "pandas", "pyarrow", "plotly", "pydantic"}
    assert heavy & set(modules) == set()


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(with_tree(path.read_text()))
