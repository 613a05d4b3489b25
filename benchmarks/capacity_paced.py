"""Does a search in wall time find what virtual time says, and how many turns does it save?

    python -m benchmarks.capacity_paced [--budget 5m]

First the twin of `benchmarks/capacity.yaml` in virtual time, seed by seed (`fsbench capacity`, 600
conversations); then the paced engine itself, by the same command, with a real server, real tokens
and a real driver. Printed: both capacities with their intervals, whether the two agree, and the
turns that were played beside those of a fixed grid: every rate of the lattice between the lowest
and the highest that the search played, each with the users that one needs where it is not told
earlier. A pace that was not kept, or a driver out of its bounds, is said and makes the result void.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.results import print_table, write_result
from benchmarks.twin import twin
from suite.sweep.capacity_result import CapacityResult, EngineCapacity
from suite.sweep.lattice import Lattice
from workloads.yaml_file import read_yaml

WORKLOAD = Path(__file__).parent / "capacity.yaml"
TOLERANCE = 0.15
NUM_CONVERSATIONS = 600  # of each virtual run
Json = dict[str, Any]


def capacity(
    workload: Path, root: Path, *options: str, tolerance_ratio: float = TOLERANCE
) -> tuple[CapacityResult, Path]:
    """Returns what the command found, and its directory."""
    before = set(root.iterdir())
    command = [sys.executable, "-m", "suite.cli", "capacity", str(workload), "--out", str(root)]
    subprocess.run([*command, "--tolerance", str(tolerance_ratio), *options], check=False)
    (directory,) = set(root.iterdir()) - before
    found = CapacityResult.read(directory)
    assert found is not None, f"{directory} has no result"
    return found, directory


def grid_turns(engine: EngineCapacity, directory: Path) -> tuple[int, int]:
    """Returns (rates, turns) of the fixed grid; `directory`: of the search that it is held
    against."""
    lattice = Lattice(tolerance_ratio=TOLERANCE)
    rates = [each.rate for each in engine.rates]
    num_rates = lattice.at_least(max(rates)) - lattice.at_most(min(rates)) + 1
    manifests = [json.loads(path.read_text()) for path in directory.glob("cells/*/manifest.json")]
    num_turns = {each["parts"][0]["counts"]["planned"] for each in manifests}
    return num_rates, num_rates * max(num_turns)


def validity(engine: EngineCapacity) -> Json:
    """Returns whether the paced engine kept its pace and the driver its bounds at every rate up to
    the lowest that it does not carry."""
    limits = [each.limits for each in engine.rates if each.rate <= (engine.interval or (0, 0))[1]]
    return {
        "is_pace_kept": all(each.is_pace_kept for each in limits),
        "is_driver_valid": all(each.is_driver_valid for each in limits),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", default="5m", help="of the search in wall time")
    parser.add_argument("--out", type=Path, help="keep the searches' directories here")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = args.out or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        raw = read_yaml(WORKLOAD)
        virtual_file = Path(temporary) / "twin.yaml"
        virtual_file.write_text(yaml.safe_dump(twin(raw), sort_keys=False))
        count = f"conversations.count={NUM_CONVERSATIONS}"
        virtual, _ = capacity(virtual_file, root, "--seeds", "3", "--set", count)
        wall, directory = capacity(WORKLOAD, root, "--budget", args.budget)
        results = compared(virtual, wall, directory)
    show(results)
    if not args.dry:
        settings = {"budget": args.budget, "tolerance_ratio": TOLERANCE, "workload": raw}
        write_result("capacity_paced", settings=settings, results=results)


def compared(virtual: CapacityResult, wall: CapacityResult, directory: Path) -> Json:
    (expected,), (found,) = virtual.engines, wall.engines
    num_rates, num_grid_turns = grid_turns(found, directory)
    num_turns = sum(each.num_turns for each in found.rates)
    return {
        "virtual": json.loads(expected.model_dump_json()),
        "wall": json.loads(found.model_dump_json()),
        "holds_virtual_capacity": _is_within(expected, found),
        "is_within_virtual_interval": _is_within(found, expected),
        "num_turns": num_turns,
        "num_grid_rates": num_rates,
        "num_grid_turns": num_grid_turns,
        "turns_to_grid_ratio": num_turns / num_grid_turns,
        **validity(found),
    }


def _is_within(found: EngineCapacity, expected: EngineCapacity) -> bool | None:
    if found.rate is None or expected.interval is None:
        return None
    low, high = expected.interval
    return low <= found.rate <= high


def show(results: Json) -> None:
    rows = [
        [name, f"{each['rate'] or 0:.3g}", each["interval"] and _ends(each["interval"])]
        for name, each in (("virtual", results["virtual"]), ("wall", results["wall"]))
    ]
    print_table(["capacity", "conversations/s", "95 % interval"], rows)
    print(
        f"{results['num_turns']} turns in wall time, {results['turns_to_grid_ratio']:.0%} of a "
        f"fixed grid's {results['num_grid_turns']} ({results['num_grid_rates']} rates)"
    )
    flags = ("holds_virtual_capacity", "is_within_virtual_interval")
    for name in (*flags, "is_pace_kept", "is_driver_valid"):
        print(f"{name}: {results[name]}")


def _ends(ends: list[float]) -> str:
    return f"{ends[0]:.3g} – {ends[1]:.3g}"


if __name__ == "__main__":
    main()
