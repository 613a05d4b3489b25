from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from engines.embedded.devices import matrix
from engines.embedded.devices.matrix import Matrix, can_be_packed

SHAPES = [(17, 33), (96, 64), (768, 512)]
NUM_ROWS = (0, 1, 2, 3, 8, 31, 64, 600)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_bias", [False, True])
def test_products_are_those_of_the_plain_matrix(
    shape: tuple[int, int], dtype: torch.dtype, has_bias: bool
) -> None:
    torch.manual_seed(0)
    weight = (torch.randn(shape) / shape[1] ** 0.5).to(dtype)
    bias = torch.randn(shape[0]).to(dtype) if has_bias else None
    product = Matrix(weight)
    for num_rows in NUM_ROWS:
        rows = torch.randn(num_rows, shape[1]).to(dtype)
        with torch.inference_mode():
            torch.testing.assert_close(product(rows, bias), F.linear(rows, weight, bias))


def test_rows_may_be_part_of_a_wider_tensor() -> None:
    torch.manual_seed(0)
    weight, wide = torch.randn(40, 24), torch.randn(6, 48)
    expected = F.linear(wide[:, 24:].contiguous(), weight)
    torch.testing.assert_close(Matrix(weight)(wide[:, 24:]), expected)


def test_only_what_mkl_packs_is_packed() -> None:
    has_mkl = torch.backends.mkl.is_available()
    assert can_be_packed(torch.zeros(2, 2)) == has_mkl
    assert not can_be_packed(torch.zeros(2, 2, dtype=torch.float64))
    assert not can_be_packed(torch.zeros(2, 2, dtype=torch.bfloat16))
    assert not can_be_packed(torch.zeros(2, 2, device="meta"))


def test_where_nothing_packs_products_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    weight, rows = torch.randn(40, 24), torch.randn(5, 24)
    expected = Matrix(weight)(rows)
    monkeypatch.setattr(matrix, "can_be_packed", lambda _: False)
    torch.testing.assert_close(Matrix(weight)(rows), expected)
