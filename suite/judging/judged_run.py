"""`fsbench gate`: a run judged by its own gates or a file's, against its own baseline engine,
another run, or a stored baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from suite.judging.gate_syntax import Gate, GateError, parse_gates
from suite.judging.gates import evaluate
from suite.judging.metrics_file import MeasuredRun, measure_run
from suite.judging.published import reference_numbers
from suite.judging.run_comparison import CompareError, split_selection
from suite.judging.sides import EngineSide, Side, against
from suite.judging.stored_baselines import read_baseline


def judge_run(
    path: Path, *, baseline: str | None, rules: Path | None, is_unpaired: bool
) -> dict[str, Any]:
    """Returns `name`, `engines`, `gates` and `references` as in metrics.json. Raises GateError,
    RunDirectoryError, BaselineError, CompareError."""
    run = measure_run(path)
    gates = _gates(run, rules, has_stored_baseline=baseline is not None)
    sides = {
        name: EngineSide(name, run.numbers[name], engine) for name, engine in run.engines.items()
    }
    references = (
        against(sides, run.manifest.baseline)
        if baseline is None
        else _references(run, baseline, is_unpaired=is_unpaired)
    )
    return {
        "name": run.manifest.name,
        "engines": run.numbers,
        "gates": [each.as_json() for each in evaluate(gates, sides, references)],
        "references": reference_numbers(run.manifest, sides),
    }


def _gates(run: MeasuredRun, rules: Path | None, *, has_stored_baseline: bool) -> tuple[Gate, ...]:
    where = str(run.path / "manifest.json") if rules is None else str(rules)
    texts = run.manifest.gates if rules is None else read_rules(rules)
    if not texts:
        raise GateError(
            f"{where}: there are no gates to judge by; write `gates:` into the workload, "
            "or give them with --rules FILE"
        )
    return parse_gates(
        texts,
        engines=list(run.manifest.engines),
        user_classes=[each.name for each in run.plan.user_classes],
        baseline=run.manifest.baseline,
        where=where,
        has_stored_baseline=has_stored_baseline,
    )


def read_rules(path: Path) -> list[str]:
    """Reads a YAML list of gates, or a mapping with the key `gates`. Raises GateError."""
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = "" if where is None else f":{where.line + 1}"
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise GateError(f"{path}{line}: is not YAML ({what})") from error
    if isinstance(found, dict):
        found = found.get("gates")
    if not isinstance(found, list):
        raise GateError(f"{path}: must be a list of gates such as `- ttft.p99 <= 1.5s`")
    for each in found:
        if isinstance(each, dict) and len(each) == 1:
            ((before, after),) = each.items()  # YAML reads `a: b` as a mapping
            raise GateError(f'{path}: a gate must be text; put it in quotes: "{before}: {after}"')
        if not isinstance(each, str):
            raise GateError(f"{path}: a gate must be text such as `ttft.p99 <= 1.5s`, got {each!r}")
    return found


def _references(run: MeasuredRun, baseline: str, *, is_unpaired: bool) -> Mapping[str, Side | None]:
    """Returns what `baseline` means for each engine of the run, None where it has no such
    engine."""
    path, engine = split_selection(baseline)
    digest, measured, sides = _stored(path, engine)
    if not is_unpaired:
        ours = run.manifest.plan_digest
        if digest != ours:
            raise CompareError(
                f"cannot gate {run.path} against {path}: plan differs ({ours[:12]} vs "
                f"{digest[:12]}); update the baseline, or say --unpaired"
            )
        if measured != run.measured.as_json():
            raise CompareError(
                f"cannot gate {run.path} against {path}: they measure different parts of the plan "
                "(`measure` differs); update the baseline, or say --unpaired"
            )
    if len(sides) == 1 and (engine is not None or len(run.engines) == 1):
        return dict.fromkeys(run.engines, next(iter(sides.values())))
    if not sides.keys() & run.engines.keys():
        raise CompareError(
            f"{path}: has none of the engines of {run.path} ({', '.join(run.engines)}); name one "
            f"of its own with --baseline {path}:ENGINE: {', '.join(sides)}"
        )
    return {name: sides.get(name) for name in run.engines}


def _stored(path: Path, engine: str | None) -> tuple[str, Mapping[str, Any], Mapping[str, Side]]:
    """Reads (plan digest, what was measured, engines by name) of a run or a baseline file."""
    if path.is_dir():
        run = measure_run(path, engine)
        runs: dict[str, Side] = {
            name: EngineSide(f"{path}:{name}", run.numbers[name], each)
            for name, each in run.engines.items()
        }
        return run.manifest.plan_digest, run.measured.as_json(), runs
    stored = read_baseline(path)
    chosen = _chosen(list(stored.engines), engine, path)
    return stored.plan_digest, stored.measured, {name: stored.engines[name] for name in chosen}


def _chosen(names: Sequence[str], engine: str | None, path: Path) -> Sequence[str]:
    if engine is None:
        return names
    if engine not in names:
        raise CompareError(f"{path}: has no engine {engine!r}; choose one of: {', '.join(names)}")
    return [engine]
