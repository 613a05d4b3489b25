"""Do the policies stand in the same order with real tokens as in virtual time?

    python -m benchmarks.fairness_paced          # results/fairness_paced.json, under six minutes

Plays workloads/fairness-paced.yaml through the real command: a server, a driver, real tokens and
copies, at a modelled GPU's pace, three repeats. First its virtual twin: the same plan through
`kind: simulated` with the same profile, in seconds. The order of the engines by users within SLO
should be the twin's.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.demo_runs import Condition, play, show
from benchmarks.results import write_result
from benchmarks.twin import twin
from workloads.yaml_file import read_yaml

WORKLOAD = Path(__file__).parents[1] / "workloads" / "fairness-paced.yaml"
Json = dict[str, Any]


def order(run: Json) -> list[str]:
    """Returns the engines, the one that kept most users first."""
    users = {name: each["users_within_slo_ratio"] for name, each in run["engines"].items()}
    return sorted(users, key=lambda name: -users[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="keep the run directories here")
    args = parser.parse_args()
    workload = read_yaml(WORKLOAD)
    with tempfile.TemporaryDirectory() as temporary:
        root = args.out or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        virtual = Path(temporary) / "twin.yaml"
        virtual.write_text(yaml.safe_dump({**twin(workload), "repeats": 1}, sort_keys=False))
        expected = play(virtual, root, Condition())
        show("virtual twin", expected, is_first=True)
        found = play(WORKLOAD, root, Condition())
        show("paced, three repeats", found, is_first=False)
    is_same = order(found) == order(expected)
    print(f"{'the same order' if is_same else 'another order'}: {', '.join(order(found))}")
    results = {"twin": expected, "paced": found, "is_same_order": is_same}
    print(write_result("fairness_paced", settings={"workload": workload}, results=results))


if __name__ == "__main__":
    main()
