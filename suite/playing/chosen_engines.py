"""`fsbench run --engine`: some of a workload's engines, and what is left out with the others."""

from __future__ import annotations

from collections.abc import Sequence

from suite.judging.gate_syntax import Gate, GateError, parse_gate
from workloads.errors import WorkloadError
from workloads.source import WorkloadSource
from workloads.spec import WorkloadSpec, spec_of


def choose_engines(
    source: WorkloadSource, names: Sequence[str]
) -> tuple[WorkloadSource, list[str]]:
    """Returns the workload with the engines of these names alone, in the file's order, and one
    line for everything that spoke of another one and is left out. Raises WorkloadError,
    GateError."""
    spec = spec_of(source)
    for name in names:
        if name not in spec.engines:
            raise WorkloadError(
                f"--engine {name}: {source.path} has no engine {name!r}; choose one of: "
                f"{', '.join(spec.engines)}"
            )
    _check_matrix(source, names)
    gates = {text: _why_no_gate(_parsed(text, source), spec, names) for text in spec.gates}
    references = [_why_no_reference(place, spec, names) for place in range(len(spec.references))]
    notes = [f"gate {text!r} is left out: {why}" for text, why in gates.items() if why]
    notes += [why for why in references if why]
    raw = dict(source.raw)
    raw["engines"] = {name: each for name, each in raw["engines"].items() if name in names}
    if spec.baseline not in names:
        raw.pop("baseline", None)
    if spec.gates:
        raw["gates"] = [text for text in spec.gates if gates[text] is None]
    if spec.references:
        kept = zip(raw["references"], references, strict=True)
        raw["references"] = [each for each, why in kept if why is None]
    return WorkloadSource(path=source.path, raw=raw, settings=source.settings), notes


def _check_matrix(source: WorkloadSource, names: Sequence[str]) -> None:
    """Refuses a matrix that would bring back what was left out: its values come after the
    choice."""
    for key in map(str, source.raw.get("matrix") or {}):
        block = key.partition(".")[0]
        played = (f"engines.{name}." for name in ("*", *names))
        is_of_others = block == "engines" and not f"{key}.".startswith(tuple(played))
        if is_of_others or block in ("baseline", "gates", "references"):
            raise WorkloadError(
                f"{source.path}: matrix.{key} cannot be swept with --engine {', '.join(names)}; "
                "choose its engine too, or pass --set matrix={}"
            )


def _parsed(text: str, source: WorkloadSource) -> Gate:
    try:
        return parse_gate(text)
    except GateError as error:
        raise GateError(f"{source.path}: {error}") from None


def _why_no_gate(gate: Gate, spec: WorkloadSpec, names: Sequence[str]) -> str | None:
    """Returns why a gate is left out; None where it can be judged, or is wrong with all engines
    too."""
    if gate.engine is not None and gate.engine in spec.engines and gate.engine not in names:
        return _not_played("engine", gate.engine)
    if not gate.is_times_baseline or spec.baseline is None:
        return None
    if spec.baseline not in names:
        return _not_played("the baseline", spec.baseline)
    if set(names) == {spec.baseline}:
        return f"nothing is played beside the baseline {spec.baseline!r}"
    return None


def _why_no_reference(place: int, spec: WorkloadSpec, names: Sequence[str]) -> str | None:
    cited = spec.references[place]
    for name in (cited.engine, cited.baseline or spec.baseline):
        if name is not None and name not in names:
            return f"references.{place} is left out: {_not_played('engine', name)}"
    return None


def _not_played(what: str, name: str) -> str:
    return f"{what} {name!r} is not played (add --engine {name})"
