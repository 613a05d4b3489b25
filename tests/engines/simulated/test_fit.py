from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from engines.errors import EngineInputError
from engines.simulated.cost_model import CostModel, pairs
from engines.simulated.fit import CONSTANTS, fit_profile
from engines.simulated.profile import load_profile
from engines.simulated.step_fit import Steps, fit_steps, modelled_s

TRUE = load_profile("rtxpro6000-llama31-8b")
BASE = load_profile("a10-llama3-8b").model_copy(update={"model": TRUE.model})
TABLES = {
    "rtx4090-llama31-8b": "rtx4090_llama31-8b_tp1",
    "rtxpro6000-llama31-8b": "rtxpro6000_llama31-8b_tp1",
    "rtxpro6000-qwen3-32b": "rtxpro6000_qwen3-32b_tp1",
    "rtxpro6000x2-qwen3-32b": "rtxpro6000_qwen3-32b_tp2",
}


def made_tables(folder: Path) -> list[Path]:
    """Kernel times exactly as TRUE has them."""
    cost = CostModel(TRUE)
    attention = [
        (c, k, n, kv, cost.attention_s(n, n * kv, pairs(c, k) if c else 0.0, c + k if c else 0))
        for c in (0, 32, 256, 2048)
        for k in ((0, 512, 4096) if c else (0,))
        for n in (0, 1, 8, 64)
        for kv in ((128, 1024) if n else (0,))
        if c or n
    ]
    tokens = [1, 8, 64, 128, 256, 512, 1024, 2048]
    zero = ("qkv_proj", "o_proj", "gate_up_proj", "layernorm", "rotary_emb")
    dense = [
        *((layer, n, 0.0) for layer in zero for n in tokens),
        *(("down_proj", n, cost.products_s(n)) for n in tokens),
        *(("act_fn", n, cost.elementwise_s(n)) for n in tokens),
    ]
    head = [
        *(("lm_head", n, cost.head_s(n)) for n in (1, 16, 64, 256)),
        *(("sampler", n, 0.0) for n in (1, 16, 64, 256)),
    ]
    names = {
        "attention": (["prefill_chunk", "kv_prefill", "n_decode", "kv_decode"], attention),
        "dense": (["layer", "tokens"], dense),
        "per_sequence": (["layer", "sequences"], head),
    }
    paths = []
    for name, (columns, rows) in names.items():
        table = pd.DataFrame(rows, columns=[*columns, "time_us"])
        table["time_us"] *= 1e6
        paths.append(folder / f"{name}.csv")
        table.to_csv(paths[-1], index=False)
    return paths


def test_tables_that_a_profile_made_give_it_back(tmp_path: Path) -> None:
    fitted, residuals = fit_profile(made_tables(tmp_path), BASE)
    for name in (name for names in CONSTANTS.values() for name in names):
        constant = getattr(fitted.step, name)
        assert constant.origin == "fitted"
        if name != "sampler_s":  # next to nothing beside the head
            assert constant.value == pytest.approx(getattr(TRUE.step, name).value, rel=0.02), name
    assert fitted.step.step_overhead_s == BASE.step.step_overhead_s
    assert fitted.link == BASE.link
    assert max(each.p95_error_ratio for each in residuals) < 0.01


def test_what_no_table_speaks_of_stays_the_bases(tmp_path: Path) -> None:
    dense = made_tables(tmp_path)[1]
    fitted, residuals = fit_profile([dense], BASE)
    assert [each.part for each in residuals] == ["products", "elementwise"]
    assert fitted.step.attention_s == BASE.step.attention_s


def test_a_strange_table_is_refused_with_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(EngineInputError, match=r"t\.csv: columns must hold .*; got a, b"):
        fit_profile([path], BASE)


def test_two_tables_of_one_part_are_refused(tmp_path: Path) -> None:
    dense = made_tables(tmp_path)[1]
    with pytest.raises(EngineInputError, match=r"are in .* already"):
        fit_profile([dense, dense], BASE)


def made_steps(num_steps: int) -> Steps:
    rng = np.random.default_rng(3)
    num_decodes = rng.integers(1, 200, num_steps)
    prefill = np.where(rng.random(num_steps) < 0.2, rng.integers(2, 2000, num_steps), 0)
    context = num_decodes * rng.integers(50, 2000, num_steps) + prefill
    steps = Steps(
        duration_s=np.ones(num_steps),
        num_decodes=num_decodes,
        num_prefill_tokens=prefill,
        num_context_tokens=context,
    )
    return Steps(
        duration_s=modelled_s(TRUE, steps) * rng.lognormal(0, 0.02, num_steps),
        num_decodes=num_decodes,
        num_prefill_tokens=prefill,
        num_context_tokens=context,
    )


def test_steps_that_a_profile_made_give_its_rates_back() -> None:
    slower = TRUE.step.gemm_bytes_per_s.model_copy(update={"value": 1e11})
    base = TRUE.model_copy(
        update={"step": TRUE.step.model_copy(update={"gemm_bytes_per_s": slower})}
    )
    found = fit_steps(made_steps(400), base, source="made")
    assert found.median_error_ratio < 0.02
    for name in ("gemm_bytes_per_s", "gemm_flops_per_s", "attention_bytes_per_s"):
        expected = getattr(TRUE.step, name).value
        assert getattr(found.profile.step, name).value == pytest.approx(expected, rel=0.05), name


def test_too_few_steps_are_refused() -> None:
    with pytest.raises(EngineInputError, match="run: 9 steps are too few"):
        fit_steps(made_steps(9), TRUE, source="run")


@pytest.mark.traces
@pytest.mark.parametrize("name", TABLES)
def test_shipped_profiles_are_what_the_published_tables_give(
    real_trace: Callable[[str], Path], name: str
) -> None:
    shipped = load_profile(name)
    kinds = ("attention", "dense", "per_sequence")
    tables = [real_trace(f"kernelprofile_{TABLES[name]}_{kind}.csv.gz") for kind in kinds]
    fitted, _ = fit_profile(tables, shipped)
    for key, constant in fitted.step:
        assert constant.value == pytest.approx(getattr(shipped.step, key).value, rel=2e-3), key
        assert constant.source == getattr(shipped.step, key).source
