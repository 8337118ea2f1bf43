"""Methods that start from other weights keep the function they promise to keep."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fanin.errors import InputError
from fanin.initializers import deeper, mean_resize, mimetic, olora, pissa, wider
from fanin.keys import Key

KEY = Key(0, "grow")
RNG = np.random.default_rng(0)
W = RNG.normal(size=(12, 8)).astype(np.float32)


@pytest.mark.parametrize("method", [pissa, olora])
@pytest.mark.parametrize("scale", [1.0, 0.25])
@pytest.mark.parametrize("kind", ["numpy", "torch", "bfloat16"])
def test_adapters_keep_the_function(method, scale, kind):
    weight = W if kind == "numpy" else torch.from_numpy(W).to(torch.float32 if kind == "torch" else torch.bfloat16)
    A, B, residual = method(weight, 3, scale=scale)
    assert type(A) is type(weight)
    assert A.dtype == B.dtype == residual.dtype == weight.dtype
    total, original = residual + scale * (B @ A), weight
    if kind != "numpy":
        total, original = total.float().numpy(), original.float().numpy()
    np.testing.assert_allclose(total, original, atol=0.1 if kind == "bfloat16" else 2e-6)


def test_pissa_takes_the_principal_part_and_olora_the_first_columns():
    A, B, residual = pissa(W, 3)
    spectrum = np.linalg.svd(W, compute_uv=False)
    np.testing.assert_allclose(np.linalg.svd(residual, compute_uv=False)[:5], spectrum[3:], rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(A, axis=1), np.linalg.norm(B, axis=0), rtol=1e-4)
    A, B, residual = olora(W, 3)
    np.testing.assert_allclose(residual[:, :3], 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(B, axis=0), 1, rtol=1e-5)


def test_adapters_do_not_touch_their_input():
    before = torch.from_numpy(W.copy()).requires_grad_()
    pissa(before, 2)
    assert torch.equal(before.detach(), torch.from_numpy(W))


def test_mean_resize_has_the_mean_and_covariance_of_the_old_rows():
    old = (RNG.normal(size=(300, 4)) @ RNG.normal(size=(4, 4)) + 3).astype(np.float32)
    grown = mean_resize(old, 300 + 20_000, key=KEY, epsilon=0.5)
    np.testing.assert_array_equal(grown[:300], old)
    new, covariance = grown[300:], np.cov(old.T, bias=True)
    scale = np.sqrt(np.diag(covariance))
    assert (np.abs(new.mean(axis=0) - old.mean(axis=0)) < 4 * scale * np.sqrt(0.5 / 20_000)).all()
    error = np.cov(new.T, bias=True) / 0.5 - covariance
    assert (np.abs(error) < 5 * np.outer(scale, scale) * np.sqrt(2 / 20_000)).all()


def test_mean_resize_bounds_the_partition_function():
    old, hidden = RNG.normal(size=(50, 6)).astype(np.float32), RNG.normal(size=(20, 6)).astype(np.float32)
    grown = mean_resize(old, 55, key=KEY, epsilon=0.0)
    ratio = np.exp(hidden @ grown.T).sum(axis=1) / np.exp(hidden @ old.T).sum(axis=1)
    assert (ratio <= 1 + 5 / 50 + 1e-6).all()


@pytest.mark.parametrize("split", ["random", "even"])
def test_wider_keeps_the_function_of_a_convolution(split):
    first, second = torch.nn.Conv2d(3, 6, 3), torch.nn.Conv2d(6, 4, 3)
    x = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    weight, bias, following = wider(first.weight, first.bias, second.weight, 15, key=KEY, split=split)
    with torch.no_grad():
        before = second(torch.relu(first(x)))
        after = torch.nn.functional.conv2d(x, weight, bias).relu()
        after = torch.nn.functional.conv2d(after, following, second.bias)
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


def _gradients(split):
    weight, bias, following = wider(W, None, RNG.normal(size=(5, 12)).astype(np.float32), 30, key=KEY, split=split)
    assert bias is None
    layer = torch.from_numpy(weight).requires_grad_()
    x = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    (torch.tanh(x @ layer.T) @ torch.from_numpy(following).T).pow(2).sum().backward()
    return {row.numpy().tobytes() for row in layer.detach()}, {tuple(row.tolist()) for row in layer.grad}


def test_random_shares_part_the_copies_and_even_ones_do_not():
    rows, gradients = _gradients("random")
    assert len(rows) == 12
    assert len(gradients) == 30
    rows, gradients = _gradients("even")
    assert len(gradients) == 12


@pytest.mark.parametrize("shape", [(6, 4), (6, 4, 3), (6, 4, 3, 5)])
def test_deeper_keeps_the_function_behind_relu(shape):
    weight, bias = deeper(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    x = torch.randn(2, 6, *[7] * (len(shape) - 2), generator=torch.Generator().manual_seed(1)).relu()
    function = {2: torch.nn.functional.linear, 3: torch.nn.functional.conv1d, 4: torch.nn.functional.conv2d}[len(shape)]
    padding = {} if len(shape) == 2 else {"padding": tuple(k // 2 for k in shape[2:])}
    assert torch.equal(function(x, weight, bias, **padding).relu(), x)


def test_mimetic_products_are_noise_plus_identity():
    width, heads = 96, 4
    made = mimetic(width, heads, key=KEY)
    assert all(matrix.shape == (width, width) and matrix.dtype == np.float32 for matrix in made.values())
    product = (made["output"] @ made["value"]).T.astype(np.float64)
    error = 4 * 0.4 / np.sqrt(width)
    assert np.trace(product) / width == pytest.approx(-0.4, abs=error)
    off = product[~np.eye(width, dtype=bool)]
    assert off.std() * np.sqrt(width) == pytest.approx(0.4, rel=0.05)
    for head in range(heads):
        rows = slice(head * width // heads, (head + 1) * width // heads)
        product = made["query"][rows].T @ made["key"][rows]
        assert np.linalg.matrix_rank(product) == width // heads
        assert np.trace(product) > 0  # the identity shows through, although a head keeps a quarter of the rank


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: pissa(W, 9), "rank: got 9|rank of pissa"),
        (lambda: pissa(W, 0), "rank"),
        (lambda: pissa(W[0], 1), "weight"),
        (lambda: pissa(W, 2, scale=0.0), "scale"),
        (lambda: olora(W * np.nan, 2), "non-finite"),
        (lambda: olora([[1.0]], 1), "list"),
        (lambda: olora(W.astype(int), 1), "weight"),
        (lambda: mean_resize(W, 11, key=KEY), "rows"),
        (lambda: mean_resize(W[:0], 3, key=KEY), "at least one row"),
        (lambda: mean_resize(W, 13, key=KEY, epsilon=-1.0), "epsilon"),
        (lambda: wider(W, None, W, 20, key=KEY), "axis 1 has 12"),
        (lambda: wider(W, None, W.T, 11, key=KEY), "units"),
        (lambda: wider(W, W[0], W.T, 20, key=KEY), "one per unit"),
        (lambda: wider(W, None, W.T, 20, key=KEY, split="odd"), "split"),
        (lambda: deeper(np.ones((3, 3, 2))), "odd length"),
        (lambda: mimetic(10, 3, key=KEY), "divisor"),
    ],
)
def test_errors_say_what_is_wrong(call, text):
    with pytest.raises(InputError, match=text):
        call()
