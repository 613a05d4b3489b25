"""A run's main numbers as a committed result: what is too large to commit, in one small file.

    python -m benchmarks.excerpt runs/llama8b-a10-markov-20260101T000000Z --name paper_a10_markov

Measured anew from the records by the code of `fsbench report` and `fsbench compare`: every engine's
numbers with their intervals, by how many times it is better than the baseline (above 1 is better,
whichever way the metric goes), what limits the trust in it, the workload's references and gates.
Commit, machine and versions are those of the run; `settings` says which code measured it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.results import Json, Origin, print_table, write_result
from suite.errors import RunDirectoryError
from suite.judging.catalogue.table import Metric
from suite.judging.gates import evaluate
from suite.judging.metrics_file import MeasuredRun, gates_of, measure_run
from suite.judging.published import reference_numbers, times_better
from suite.judging.ratios import ratio_of
from suite.judging.sides import Side, against
from suite.playing.environment import commit
from suite.records.run_directory import Manifest
from suite.statistics.intervals import as_json
from suite.statistics.quantiles import CONFIDENCE_RATIO
from workloads.errors import InputError

METRICS = (
    *(f"ttft.{each}" for each in ("p50", "p95", "p99", "p999")),
    *(f"tbt.{each}" for each in ("p50", "p99", "p999")),
    "throughput.output_tokens_per_s",
    "slo.users_within_slo_ratio",
    "slo.turn_attainment_ratio",
    "fairness.jain_index",
    "fairness.longest_gap_s",
    "fairness.longest_wait_s",
    "fairness.num_abandoned_turns",
    "steady_state.served_ratio",
    "context_switch.num_preemptions",
    "context_switch.stall_ratio",
    "context_switch.mean_blocks_per_copy",
    "context_switch.reused_tokens_ratio",
)
SHOWN = ("ttft.p95", "ttft.p99", "ttft.p999", "tbt.p999", "throughput.output_tokens_per_s")
USERS = "slo.users_within_slo_ratio"


def excerpt(run: MeasuredRun) -> Json:
    """Returns the `results` of the file: keys as in metrics.json, metrics by their gate names."""
    sides, baseline = run.sides(), run.manifest.baseline
    bases = against(sides, baseline)
    gates = gates_of(run.manifest, run.plan, run.path)
    return {
        "confidence_ratio": CONFIDENCE_RATIO,
        "baseline": baseline,
        "measured": run.measured.as_json(),
        "engines": {
            name: {**validity(run.numbers[name]), "metrics": metrics_of(side, bases.get(name))}
            for name, side in sides.items()
        },
        "references": reference_numbers(run.manifest, sides),
        "gates": [outcome.as_json() for outcome in evaluate(gates, sides, bases)],
    }


def validity(numbers: Json) -> Json:
    """How far an engine's numbers can be trusted."""
    keys = ("status", "version", "is_exact", "is_driver_valid", "num_conversations", "counts")
    steady = {key: numbers["steady_state"][key] for key in ("is_overloaded", "is_steady")}
    return {key: numbers[key] for key in keys} | steady | {"warnings": numbers["warnings"]}


def metrics_of(side: Side, base: Side | None) -> Json:
    return {name: number_of(side, base, Metric(name)) for name in METRICS}


def number_of(side: Side, base: Side | None, metric: Metric) -> Json:
    number = side.number(metric)
    found: Json = {"value": number.value, "interval": as_json(number.interval)}
    if number.value is None:
        return {**found, "reason": number.reason}
    if base is None:
        return found
    factor, interval, reason = times_better(metric, ratio_of(side, base, metric))
    found |= {"times_better": factor, "times_interval": as_json(interval)}
    return found if factor is not None else {**found, "reason": reason}


def settings_of(manifest: Manifest) -> Json:
    return {
        "played_at": manifest.created_at,
        "measured_by_commit": commit(),
        "plan_digest": manifest.plan_digest,
        "repeats": manifest.repeats,
        "workload": manifest.workload,  # resolved, with what --set has changed
        "engines": manifest.engines,  # presets resolved
    }


def show(results: Json) -> None:
    """The baseline's own numbers, and by how many times the others are better."""
    rows = []
    for name, engine in results["engines"].items():
        metrics = engine["metrics"]
        key = "value" if name == results["baseline"] else "times_better"
        values = [metrics[each].get(key) for each in SHOWN]
        users = metrics[USERS]["value"]
        rows.append(
            [
                name,
                *("–" if each is None else f"{each:.3g}" for each in values),
                "–" if users is None else f"{100 * users:.1f} %",
                "overloaded" if engine["is_overloaded"] else engine["status"],
            ]
        )
    print_table(["", *SHOWN, "users in SLO", ""], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run directory")
    parser.add_argument("--name", required=True, help="of the file in benchmarks/results")
    parser.add_argument("--remark", help="what a reader has to know, in one line")
    given = parser.parse_args()
    try:
        run = measure_run(given.run)
        results = excerpt(run)
    except (InputError, RunDirectoryError) as error:
        parser.error(str(error))
    manifest = run.manifest
    origin = Origin(commit=manifest.commit, machine=manifest.machine, versions=manifest.versions)
    show(results)
    print(
        write_result(
            given.name,
            settings=settings_of(manifest),
            results=results,
            remark=given.remark,
            origin=origin,
        )
    )


if __name__ == "__main__":
    main()
