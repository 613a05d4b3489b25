"""Whether the engines were given the same to work with."""

from __future__ import annotations

from collections.abc import Mapping

from reports.pages.fact import Fact
from reports.words import units
from suite.records.run_directory import Manifest

# What of an engine's settings somebody has to pay for: key ▸ how it reads.
COSTS = {
    "model": "model",
    "profile": "GPU",
    "torch_device": "device",
    "num_threads": "threads",
    "dtype": "number format",
    "kv_tokens": "KV cache tokens",
    "swap_tokens": "host swap tokens",
    "kv_offload_gib": "host KV GiB",
    "pace": "pace",
}


def cost(manifest: Manifest) -> Fact:
    """Says whether the engines were given the same to work with: without that, more users served
    is no merit."""
    engines = manifest.engines
    unknown = [name for name in engines if manifest.facts_of(name).is_attached]
    if unknown:
        who = ", ".join(unknown)
        text = f"not known: {who} was attached to, not started; make sure it costs the same"
        return Fact(outcome="inconclusive", label="Cost", text=text)
    same, differ, alone = [], [], []
    for key, word in COSTS.items():
        # What a kind has no setting for is not "none" of it: it is not known.
        values = {name: each[key] for name, each in engines.items() if key in each}
        if all(value is None for value in values.values()):
            continue
        each = _by_value(values)
        if len({repr(value) for value in values.values()}) > 1:
            differ.append(f"{word} {each}")
        elif len(values) < len(engines):
            alone.append(f"{word} {each}")
        else:
            same.append(f"{word} {_cost_value(next(iter(values.values())))}")
    of_some_kinds = [f"not a setting of every kind: {', '.join(alone)}"] if alone else []
    if differ:
        text = "; ".join([*differ, *of_some_kinds])
        return Fact(outcome="inconclusive", label="Unequal cost", text=text)
    if alone:
        return Fact(outcome="inconclusive", label="Cost", text="; ".join([*same, *of_some_kinds]))
    label = "Equal cost" if len(engines) > 1 else "Cost"  # of one there is nothing to be equal to
    return Fact(outcome="pass", label=label, text="; ".join(same) or "the same settings")


def _by_value(values: Mapping[str, object]) -> str:
    """Returns `8,192 (a, b), 4,096 (c)`: each value once, with the engines that have it."""
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(_cost_value(value), []).append(name)
    return ", ".join(f"{value} ({', '.join(each)})" for value, each in names.items())


def _cost_value(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, dict):
        return " ".join(f"{key} {_cost_value(each)}" for key, each in value.items())
    return units.count(value) if isinstance(value, int | float) else str(value)
