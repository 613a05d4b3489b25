"""Measured kernel times as published: which columns a table has says what it holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from engines.errors import EngineInputError
from engines.simulated.cost_model import CostModel, pairs

# Beyond this many tokens a batch's KV is in no pool of the machines at hand, and caches thrash.
MAX_CONTEXT_TOKENS = 2**17


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """Times of one part of the model, and what a cost model says of the same."""

    part: str
    measured_s: list[float]
    modelled: Callable[[CostModel], list[float]]
    weights: list[float]  # in a fit; points are denser where nobody needs them


def read_kernel_table(path: Path) -> list[Kernel]:
    """Returns vLLM 0.19's kernel times as LLMServingSim publishes them: attention, dense,
    per_sequence; and its older list of layers. Raises EngineInputError."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise EngineInputError(f"{path}: cannot be read as csv ({error})") from None
    for columns, read in _READERS.items():
        if set(columns) <= set(table.columns):
            if table[list(columns)].isna().any(axis=None) or not len(table):
                raise EngineInputError(f"{path}: has empty fields, or no rows")
            return read(table)
    layouts = "; or ".join(", ".join(columns) for columns in _READERS)
    got = ", ".join(map(str, table.columns))
    raise EngineInputError(f"{path}: columns must hold {layouts}; got {got:.120}")


def _attention(table: pd.DataFrame) -> list[Kernel]:
    table = table[table.n_decode * table.kv_decode <= MAX_CONTEXT_TOKENS]
    kinds = {
        "attention of decodes": table[table.prefill_chunk == 0],
        "attention of chunks": table[table.n_decode == 0],
        "attention of both": table[(table.prefill_chunk > 0) & (table.n_decode > 0)],
    }
    return [_attention_kernel(part, rows) for part, rows in kinds.items() if len(rows)]


def _attention_kernel(part: str, rows: pd.DataFrame) -> Kernel:
    arguments = [
        (n, n * kv, pairs(chunk, start) if chunk else 0.0, chunk + start if chunk else 0)
        for chunk, start, n, kv in rows[
            ["prefill_chunk", "kv_prefill", "n_decode", "kv_decode"]
        ].itertuples(index=False)
    ]
    return Kernel(
        part=part,
        measured_s=(rows.time_us * 1e-6).tolist(),
        modelled=lambda cost: [cost.attention_s(*each) for each in arguments],
        weights=[1.0] * len(rows),
    )


def _dense(table: pd.DataFrame) -> list[Kernel]:
    by_layer = table.pivot_table(index="tokens", columns="layer", values="time_us")
    return _of_tokens(
        by_layer * 1e-6,
        products=("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
        elementwise=("layernorm", "layernorm", "rotary_emb", "act_fn"),
        optional=("qk_norm",),
    )


def _layers(table: pd.DataFrame) -> list[Kernel]:
    """Returns the products of the older list; its elementwise kernels ran unfused under a profiler,
    and are left out."""
    by_layer = table[table.kv_cache == 0].pivot_table(
        index="input", columns="layer_name", values="latency(ns)"
    )
    products = "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"
    return _of_tokens(by_layer * 1e-9, products=products)


def _of_tokens(
    by_layer: pd.DataFrame,
    *,
    products: tuple[str, ...],
    elementwise: tuple[str, ...] = (),
    optional: tuple[str, ...] = (),
) -> list[Kernel]:
    missing = sorted({*products, *elementwise} - set(by_layer.columns))
    if missing:
        raise EngineInputError(f"a table of dense layers lacks {', '.join(missing)}")
    num_tokens = [int(n) for n in by_layer.index]
    # As if the numbers of tokens were spread evenly over their logarithm.
    gaps = [b - a for a, b in zip([0, *num_tokens], num_tokens, strict=False)]
    weights = [gap / (n + 4) for gap, n in zip(gaps, num_tokens, strict=True)]

    def kernel(part: str, layers: list[str], seconds: Callable[[CostModel, int], float]) -> Kernel:
        return Kernel(
            part=part,
            measured_s=sum(by_layer[layer] for layer in layers).tolist(),  # type: ignore[union-attr]
            modelled=lambda cost: [seconds(cost, n) for n in num_tokens],
            weights=weights,
        )

    kernels = [kernel("products", list(products), CostModel.products_s)]
    if elementwise:
        others = [layer for layer in optional if layer in by_layer]
        kernels.append(kernel("elementwise", [*elementwise, *others], CostModel.elementwise_s))
    return kernels


def _per_sequence(table: pd.DataFrame) -> list[Kernel]:
    by_layer = table.pivot_table(index="sequences", columns="layer", values="time_us") * 1e-6
    num_sequences = [int(n) for n in by_layer.index]
    return [
        Kernel(
            part="head and sampler",
            measured_s=(by_layer.lm_head + by_layer.sampler).tolist(),
            modelled=lambda cost: [cost.head_s(n) for n in num_sequences],
            weights=[1.0] * len(num_sequences),
        )
    ]


_READERS: dict[tuple[str, ...], Callable[[pd.DataFrame], list[Kernel]]] = {
    ("prefill_chunk", "kv_prefill", "n_decode", "kv_decode", "time_us"): _attention,
    ("layer", "tokens", "time_us"): _dense,
    ("layer", "sequences", "time_us"): _per_sequence,
    ("layer_name", "input", "kv_cache", "latency(ns)"): _layers,
}
