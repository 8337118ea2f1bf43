"""Identity-like, Hadamard, sparse, recurrent and state-space tensors against what defines them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard

from fanin import fans
from fanin.initializers import (
    ICNR,
    IRNN,
    ChronoBias,
    ClassPrior,
    Dirac,
    ForgetBias,
    HeNormal,
    HiPPO,
    HiPPOInput,
    Identity,
    IDInit,
    LasagneSparse,
    Mamba2ALog,
    MambaALog,
    MambaStepBias,
    PriorBias,
    RBMVisibleBias,
    SinusoidalPositions,
    Sparse,
    TorchSparse,
    ZerO,
)
from fanin.keys import Key

KEY = Key(0, "structured")


def draw(initializer, *shape, place=None):
    made = place if place is not None else (fans.linear(shape) if len(shape) == 2 else fans.elementwise(shape))
    return initializer.draw(KEY, shape, made)


@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (5, 3)])
def test_identity_is_torchs_eye(shape):
    np.testing.assert_array_equal(draw(Identity(), *shape), torch.nn.init.eye_(torch.empty(shape)).numpy())


@pytest.mark.parametrize("groups", [1, 4])
def test_dirac_copies_its_input(groups):
    shape = (8, 8 // groups, 3, 3)
    weight = torch.from_numpy(draw(Dirac(), *shape, place=fans.conv(shape, groups=groups)))
    x = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.nn.functional.conv2d(x, weight, padding=1, groups=groups), x)


def test_irnn_keeps_a_non_negative_state():
    W, h = draw(IRNN(), 6, 6), np.abs(np.random.default_rng(0).normal(size=6)).astype(np.float32)
    state = h
    for _ in range(1000):
        state = np.maximum(W @ state, 0)
    np.testing.assert_array_equal(state, h)


@pytest.mark.parametrize(("rows", "cols"), [(8, 4), (16, 16), (32, 5)])
def test_zero_has_orthonormal_columns_for_powers_of_two(rows, cols):
    W = draw(ZerO(), rows, cols).astype(np.float64)
    np.testing.assert_allclose(W.T @ W, np.eye(cols), atol=1e-6)


@pytest.mark.parametrize(("rows", "cols"), [(8, 4), (100, 60), (33, 32)])
def test_zero_is_the_corner_of_sylvesters_hadamard_matrix(rows, cols):
    order = math.ceil(math.log2(rows))
    np.testing.assert_allclose(
        draw(ZerO(), rows, cols), hadamard(2**order)[:rows, :cols] * 2 ** (-order / 2), atol=1e-7
    )
    assert np.linalg.matrix_rank(draw(ZerO(), rows, cols)) == cols


def test_zero_narrows_by_the_identity():
    np.testing.assert_array_equal(draw(ZerO(), 3, 5), np.eye(3, 5))


def test_idinit_uses_every_row_and_column():
    for shape in ((6, 15), (15, 6), (7, 7)):
        W = draw(IDInit(), *shape)
        assert (W != 0).any(axis=0).all()
        assert (W != 0).any(axis=1).all()
        assert np.linalg.matrix_rank(W) == min(shape)
        assert (W != 0).sum() == max(shape)


def test_sparse_meanings():
    martens, torchs, lasagnes = (
        draw(Sparse(15), 60, 200),
        draw(TorchSparse(0.9), 60, 200),
        draw(LasagneSparse(), 60, 200),
    )
    assert set((martens != 0).sum(axis=1)) == {15}
    theirs = torch.nn.init.sparse_(torch.empty(60, 200), 0.9).numpy()
    assert set((torchs != 0).sum(axis=0)) == set((theirs != 0).sum(axis=0)) == {6}
    assert len(set((torchs != 0).sum(axis=1))) > 1  # torch's meaning leaves the incoming count free
    assert set((lasagnes != 0).sum(axis=1)) == {20}
    assert martens[martens != 0].std() == pytest.approx(1.0, rel=0.1)


def test_sparse_places_are_uniform():
    counts = (draw(Sparse(10), 6000, 40) != 0).sum(axis=0)
    expected = 6000 * 10 / 40
    assert (np.abs(counts - expected) < 5 * math.sqrt(expected * 0.75)).all()


@pytest.mark.parametrize("initializer", [Sparse(50), Sparse(0), TorchSparse(0.0), TorchSparse(1.0), LasagneSparse(0.0)])
def test_sparse_at_its_ends(initializer):
    W = draw(initializer, 6, 9)
    full = initializer.std(fans.linear((6, 9))) > 0
    assert (W != 0).all() == full
    assert W.any() == full


def test_forget_bias_reaches_the_forget_gate_of_torch():
    cell = torch.nn.LSTM(1, 4)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih_l0.copy_(torch.from_numpy(draw(ForgetBias(1.0), 16)))
        _, (_, kept) = cell(torch.zeros(1, 1, 1), (torch.zeros(1, 1, 4), torch.ones(1, 1, 4)))
    np.testing.assert_allclose(kept.numpy(), 1 / (1 + math.exp(-1)), rtol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_chrono_retention_spans_the_time_scales_in_torchs_cells(cell):
    hidden, longest = 500, 100
    gates = 4 if cell == "lstm" else 3
    module = (torch.nn.LSTM if cell == "lstm" else torch.nn.GRU)(1, hidden)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.bias_ih_l0.copy_(torch.from_numpy(draw(ChronoBias(longest, cell), gates * hidden)))
        start = torch.ones(1, 1, hidden)
        state = (start * 0, start) if cell == "lstm" else start
        _, after = module(torch.zeros(1, 1, 1), state)
    kept = (after[1] if cell == "lstm" else after).numpy()
    assert 0.5 - 1e-6 <= kept.min() <= kept.max() <= (longest - 1) / longest + 1e-6
    # Memory u + 1 is uniform, so half of the units remember longer than T/2.
    assert (1 / (1 - kept)).mean() == pytest.approx(longest / 2 + 0.5, rel=0.1)


def test_hippo_eigenvalues():
    np.testing.assert_allclose(np.sort(np.linalg.eigvals(draw(HiPPO(), 12, 12)).real), -np.arange(12, 0, -1), rtol=1e-3)
    # LegS in the factored form A = −(tril(BBᵀ, −1) + diag(n + 1)).
    B = draw(HiPPOInput(), 12)
    np.testing.assert_allclose(np.tril(draw(HiPPO(), 12, 12), -1), np.tril(-np.outer(B, B), -1), rtol=1e-5)


def test_mamba_parameters():
    np.testing.assert_allclose(np.exp(draw(MambaALog(), 5, 16)), np.broadcast_to(np.arange(1, 17), (5, 16)), rtol=1e-5)
    heads = np.exp(draw(Mamba2ALog(), 2000))
    assert 1 <= heads.min() <= heads.max() <= 16
    assert heads.mean() == pytest.approx(8.5, abs=4 * 15 / math.sqrt(12 * 2000))
    step = np.logaddexp(0, draw(MambaStepBias(), 5000).astype(np.float64))
    assert 0.001 * 0.9999 <= step.min() <= step.max() <= 0.1 * 1.0001
    exact = (0.1 - 0.001) / math.log(100)  # mean of a log-uniform
    assert exact == pytest.approx(0.0214, abs=2e-4)
    assert step.mean() == pytest.approx(exact, abs=4 * step.std() / math.sqrt(5000))


def test_biases_give_the_stated_probabilities():
    assert draw(PriorBias(0.01), 3)[0] == pytest.approx(-4.59511985, rel=1e-7)
    p = np.array([0.2, 0.5, 0.97])
    np.testing.assert_allclose(1 / (1 + np.exp(-draw(RBMVisibleBias(p), 3))), p, rtol=1e-6)
    logits = draw(ClassPrior((0.5, 0.3, 0.2)), 3)
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(), [0.5, 0.3, 0.2], rtol=1e-6)


def test_icnr_makes_a_pixel_shuffle_constant_in_each_cell():
    shape = (18, 4, 3, 3)
    weight = torch.from_numpy(draw(ICNR(HeNormal(), 3), *shape, place=fans.conv(shape)))
    x = torch.randn(1, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    up = torch.nn.functional.pixel_shuffle(torch.nn.functional.conv2d(x, weight, padding=1), 3)
    cells = up.reshape(2, 6, 3, 6, 3)
    assert (cells - cells[:, :, :1, :, :1]).abs().max() < 1e-5


def test_sinusoidal_positions_shift_by_rotation():
    table = draw(SinusoidalPositions(), 40, 8).astype(np.float64)
    gram = table @ table.T
    for offset in (0, 1, 7):  # depends on the distance only
        assert np.ptp(np.diagonal(gram, offset)) < 1e-5
