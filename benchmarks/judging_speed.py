"""How long it takes from the records of a large run to metrics and report, and how much memory.

    python -m benchmarks.judging_speed [--conversations 10000] [--tokens 450] [--engines 1]

The records are made up (see synthetic_records.py); what is timed, each in a process of its own, is
`suite.judging.metrics_file.write_metrics` (reading, every number, every interval, and with two
engines the paired comparison) and then `reports.pages.run.write_report`. Peak memory is that
process's resident set.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.results import print_table, write_result
from benchmarks.synthetic_records import Noise, make_plan, make_turns, write_run
from reports.pages.run import write_report
from suite.judging.metrics_file import write_metrics


def _measure(
    work: Callable[[Path], object], run: Path, answer: multiprocessing.Queue[tuple[float, ...]]
) -> None:
    began_at, cpu_at = time.monotonic(), time.process_time()
    work(run)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    answer.put((time.monotonic() - began_at, time.process_time() - cpu_at, peak))


def _alone(work: Callable[[Path], object], run: Path) -> dict[str, float]:
    context = multiprocessing.get_context("spawn")
    answer: multiprocessing.Queue[tuple[float, ...]] = context.Queue()
    process = context.Process(target=_measure, args=(work, run, answer))
    process.start()
    taken = answer.get()
    process.join()
    return dict(zip(("wall_s", "cpu_s", "peak_bytes"), taken, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--conversations", type=int, default=10_000)
    parser.add_argument("--tokens", type=float, default=450)
    parser.add_argument("--engines", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=None, help="leave the run there")
    arguments = parser.parse_args()
    plan = make_plan(arguments.conversations, mean_turns=5.4, mean_tokens=arguments.tokens, seed=1)
    with tempfile.TemporaryDirectory() as folder:
        run = write_run(
            arguments.keep or Path(folder),
            plan,
            {
                f"engine-{index}": [
                    make_turns(plan, Noise(), slowdown=1 + index / 10, run=index, shared=0)
                ]
                for index in range(arguments.engines)
            },
            [],
        )
        found = {
            f"{name}_{key}": value
            for name, work in (("metrics", write_metrics), ("report", write_report))
            for key, value in _alone(work, run).items()
        }
    num_gaps = (plan.num_output_tokens - plan.num_turns) * arguments.engines
    result = {
        "num_conversations": arguments.conversations,
        "num_engines": arguments.engines,
        "num_turns": plan.num_turns * arguments.engines,
        "num_gaps": num_gaps,
        **found,
    }
    print_table(("what", "value"), [(key, f"{value:,.4g}") for key, value in result.items()])
    name = "judging_speed" if arguments.engines == 1 else f"judging_speed_{arguments.engines}"
    write_result(name, settings={"tokens": arguments.tokens}, results=result)


if __name__ == "__main__":
    main()
