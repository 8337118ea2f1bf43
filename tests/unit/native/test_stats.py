"""Statistics in one pass against torch in float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fanin import native
from fanin.errors import InputError

pytestmark = pytest.mark.skipif(not native.available(), reason="installed without the compiled kernel")

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def some_values(count: int, dtype: torch.dtype, *, broken: bool) -> torch.Tensor:
    values = torch.randn(count, generator=torch.Generator().manual_seed(count)).to(dtype)
    values[::7] = 0
    if broken and count > 5:
        values[1], values[count // 2], values[-1] = math.nan, math.inf, -math.inf
    return values


@pytest.mark.parametrize("isa", [None, "avx512", "avx2", "scalar"])
@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("count", [1, 7, 16, 1000, 300_001])
@pytest.mark.parametrize("broken", [False, True])
def test_stats_are_torchs(name: str, count: int, broken: bool, isa: str | None) -> None:
    values = some_values(count, DTYPES[name], broken=broken)
    found = native.stats(values.data_ptr(), count, name, -1.0, 0.99, isa=isa)
    finite = values[torch.isfinite(values)]
    wide = finite.double()
    assert found.count == count
    assert found.nonfinite == count - finite.numel()
    assert found.zeros == int((values == 0).sum())
    edge = torch.tensor(0.99, dtype=torch.float64 if name == "float64" else torch.float32).double()
    assert found.saturated == int(((wide <= -1.0) | (wide >= edge)).sum())
    assert (found.min, found.max) == (float(finite.min()), float(finite.max()))
    assert found.max_abs == float(finite.abs().max())
    assert found.sum == pytest.approx(float(wide.sum()), rel=1e-12, abs=1e-12 * count)
    assert found.sum_of_squares == pytest.approx(float((wide**2).sum()), rel=1e-12)


def test_exploding_and_vanishing_values_keep_their_squares() -> None:
    """Squares leave the range of float32 long before the values do."""
    for scale in (1e30, 1e-30):
        values = torch.full((1000,), scale)
        found = native.stats(values.data_ptr(), 1000)
        assert found.sum_of_squares == pytest.approx(1000 * float(values[0]) ** 2, rel=1e-12)
        assert not 0 < float((values**2).sum()) < math.inf


def test_nothing_finite_and_nothing_at_all() -> None:
    values = torch.full((20,), math.nan)
    found = native.stats(values.data_ptr(), 20)
    assert found.nonfinite == 20
    assert found.sum == 0
    assert math.isnan(found.max_abs)
    assert native.stats(0, 0).count == 0


def test_threads_change_no_bit() -> None:
    values = some_values(700_003, torch.float32, broken=True)
    one = native.stats(values.data_ptr(), values.numel(), threads=1)
    assert native.stats(values.data_ptr(), values.numel(), threads=3) == one
    assert native.stats(values.data_ptr(), values.numel() - 1, threads=3) != one


def test_histogram_is_torchs() -> None:
    values = some_values(10_000, torch.float32, broken=True)
    bins, looks = native.histogram(values.data_ptr(), values.numel(), "float32", -2.0, 2.0)
    assert looks == 10_000
    inside = values[torch.isfinite(values)]
    assert list(bins) == torch.histc(inside, 64, -2.0, 2.0).long().tolist()


def test_sampled_histogram_is_near_and_favours_no_channel() -> None:
    """64 interleaved channels of different size: equal steps of 64 k would see only one of them."""
    values = (torch.randn(4096, 64, generator=torch.Generator().manual_seed(0)) + torch.arange(64)).contiguous()
    bins, looks = native.histogram(values.data_ptr(), values.numel(), "float32", 0.0, 64.0, limit=4096)
    assert looks == 4096
    share = torch.tensor(bins) / looks
    whole = torch.histc(values, 64, 0.0, 64.0) / values.numel()
    assert float((share - whole).abs().max()) < 5 * math.sqrt(float(whole.max()) / looks)
    equal_steps = torch.histc(values.flatten()[::64], 64, 0.0, 64.0) / 4096
    assert float((equal_steps - whole).abs().max()) > 5 * math.sqrt(float(whole.max()) / looks)


@given(st.integers(1, 9), st.integers(1, 700), st.sampled_from(list(DTYPES)))
def test_row_products_give_the_correlation(rows: int, columns: int, name: str) -> None:
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(rows)).to(DTYPES[name])
    squared, total = native.row_products(x.data_ptr(), rows, columns, name)
    gram = x.double() @ x.double().T
    assert squared == pytest.approx(float(gram.sum()), rel=1e-9, abs=1e-9 * columns)
    assert total == pytest.approx(float(gram.trace()), rel=1e-9)


@pytest.mark.parametrize("name", DTYPES)
@pytest.mark.parametrize("inner", [1, 5, 64])
def test_dead_units_are_those_that_never_fire(name: str, inner: int) -> None:
    x = torch.relu(torch.randn(6, 40, inner, generator=torch.Generator().manual_seed(1))).to(DTYPES[name])
    x[:, 3], x[:, 11], x[:, 39] = 0.0, -0.0, 0.0
    expected = int((x == 0).all(-1).all(0).sum())
    assert expected >= 3
    assert native.dead_units(x.data_ptr(), 6, 40, inner, name) == expected
    x[5, 3, -1] = math.nan
    assert native.dead_units(x.data_ptr(), 6, 40, inner, name) == expected - 1


def test_other_dtypes_are_refused() -> None:
    with pytest.raises(InputError, match="dtype"):
        native.stats(0, 0, "int8")
