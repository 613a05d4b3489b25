"""What does a real vLLM carry on this machine's CPU? One command, kept with where it came from.

    python -m benchmarks.capacity_vllm [--budget 6m] [--target 0.8] [--tolerance 0.5]

`fsbench capacity benchmarks/capacity-vllm.yaml` (after `make vllm`), a tiny model. vLLM is started
anew for each rate, and on a CPU that takes longer than the rate itself, so the steps are wide and
the target is low: 80 % need 50 users to show where 90 % need 106. Take others where there is time.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from benchmarks.capacity_paced import capacity
from benchmarks.results import write_result
from workloads.yaml_file import read_yaml

WORKLOAD = Path(__file__).parent / "capacity-vllm.yaml"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--budget", default="6m")
    parser.add_argument("--target", type=float, default=0.8, help="of the users within SLO")
    parser.add_argument("--tolerance", type=float, default=0.5, help="between neighbouring rates")
    parser.add_argument("--out", type=Path, help="keep the search's directory here")
    parser.add_argument("--dry", action="store_true", help="write no result file")
    args = parser.parse_args()
    options = ["--budget", args.budget, "--target", str(args.target)]
    with tempfile.TemporaryDirectory() as temporary:
        root = args.out or Path(temporary)
        root.mkdir(parents=True, exist_ok=True)
        found, _ = capacity(WORKLOAD, root, *options, tolerance_ratio=args.tolerance)
    results = json.loads(found.model_dump_json())
    if not args.dry:
        settings = {
            "budget": args.budget,
            "target_ratio": args.target,
            "tolerance_ratio": args.tolerance,
            "workload": read_yaml(WORKLOAD),
        }
        write_result("capacity_vllm", settings=settings, results=results)


if __name__ == "__main__":
    main()
