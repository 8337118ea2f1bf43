"""Orthogonal matrices: exact, uniform in Haar's measure, one per group and expert."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import fanin.initializers._matrix as matrix
from fanin import fans
from fanin.initializers import SUO, DeltaOrthogonal, Dirac, Orthogonal, PerGate
from fanin.initializers._matrix import haar
from fanin.keys import Key, Law, sample


def orthonormal(q, tolerance=5e-6):
    gram = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    return np.abs(gram - np.eye(len(gram))).max() < tolerance


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 150), st.integers(1, 150), st.integers(1, 3))
def test_every_shape_is_orthonormal(rows, cols, count):
    for q in haar(Key(rows, "shape"), count, rows, cols).astype(np.float64):
        assert q.shape == (rows, cols)
        assert orthonormal(q)


@pytest.mark.parametrize(("rows", "cols"), [(300, 300), (129, 129), (256, 128), (140, 400)])
@pytest.mark.parametrize("count", [1, 2])
def test_panels_join(rows, cols, count):
    first, *others = haar(Key(0, "panels"), count, rows, cols).astype(np.float64)
    assert orthonormal(first)
    for other in others:
        assert orthonormal(other)
        assert np.abs(first - other).max() > 0.05


def test_panel_width_does_not_change_the_matrix(monkeypatch):
    whole = haar(Key(0, "width"), 1, 70, 60)
    monkeypatch.setattr(matrix, "BLOCK", 16)
    np.testing.assert_allclose(haar(Key(0, "width"), 1, 70, 60), whole, atol=3e-6)


def test_reflectors_are_the_qr_of_the_same_gaussian_where_it_is_one_column():
    q = haar(Key(0, "column"), 1, 50, 1)[0, :, 0]
    x = sample(Law("normal", 0.0, 1.0), Key(0, "column"), 50)
    np.testing.assert_allclose(q, x / np.linalg.norm(x), atol=1e-6)


def haar_defects(matrices):
    """z scores of E tr = 0, E tr² = 1, E det = 0 and of a uniform entry (n = 3), which hold for Haar's measure."""
    traces, dets = np.trace(matrices, axis1=1, axis2=2), np.linalg.det(matrices)
    samples = (traces, traces**2 - 1, dets)
    scores = [abs(s.mean()) / (s.std() / np.sqrt(len(s)) + 1e-12) for s in samples]
    entries = [stats.kstest(matrices[:, i, j], stats.uniform(-1, 2).cdf).pvalue for i in range(3) for j in range(3)]
    return max(scores), min(entries)


def test_haar_measure_for_three_dimensions():
    matrices = haar(Key(0, "haar"), 20_000, 3, 3).astype(np.float64)
    score, pvalue = haar_defects(matrices)
    assert score < 4
    assert pvalue > 1e-4


def test_haar_twin_raw_qr_is_noticed():
    gaussian = np.random.default_rng(0).normal(size=(20_000, 3, 3))
    raw = np.linalg.qr(gaussian)[0]
    assert haar_defects(raw)[0] > 10
    fixed = raw * np.sign(np.diagonal(np.linalg.qr(gaussian)[1], axis1=1, axis2=2))[:, None, :]
    assert haar_defects(fixed)[0] < 4


def test_rotation_changes_nothing_in_distribution():
    matrices = haar(Key(1, "haar"), 20_000, 3, 3).astype(np.float64)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    for turned in (matrices @ turn, turn @ matrices):
        score, pvalue = haar_defects(turned)
        assert score < 4
        assert pvalue > 1e-4


def test_exact_zeros_of_the_gaussian_still_give_an_orthogonal_matrix():
    drawn = torch.randn(1, 5, 5, generator=torch.Generator().manual_seed(0))
    drawn[0, [0, 2, 4], [0, 2, 4]] = 0.0  # heads without a sign, the last of them a whole reflector
    assert orthonormal(matrix.reflect(drawn)[0].double().numpy())


@pytest.mark.parametrize(("count", "rows", "cols"), [(1, 600, 600), (3, 140, 150), (5, 20, 30)])
def test_number_of_threads_changes_neither_the_bits_nor_torchs_setting(count, rows, cols):
    before, drawn = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            drawn.append(haar(Key(0, "threads"), count, rows, cols))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in drawn[1:]:
        np.testing.assert_array_equal(other, drawn[0])
    assert orthonormal(drawn[0][-1].astype(np.float64))


def test_singular_values_are_the_gain():
    W = Orthogonal(1.7).draw(Key(0), (96, 40), fans.linear((96, 40)))
    np.testing.assert_allclose(np.linalg.svd(W, compute_uv=False), 1.7, rtol=1e-5)


def test_output_variance_of_rectangles():
    x = np.random.default_rng(0).normal(size=(2000, 1024))
    narrow = Orthogonal().draw(Key(0), (256, 1024), fans.linear((256, 1024)))
    wide = Orthogonal().draw(Key(0), (1024, 256), fans.linear((1024, 256)))
    assert (x @ narrow.T).var() == pytest.approx(1.0, rel=0.02)
    assert (x[:, :256] @ wide.T).var() == pytest.approx(0.25, rel=0.02)
    rescaled = SUO().draw(Key(0), (1024, 256), fans.linear((1024, 256)))
    assert (x[:, :256] @ rescaled.T).var() == pytest.approx(1.0, rel=0.02)


def test_x_at_w_layout_is_the_transpose():
    W = Orthogonal().draw(Key(0), (30, 70), fans.linear((30, 70)))
    V = Orthogonal().draw(Key(0), (70, 30), fans.linear((70, 30), out_axis=1, in_axis=0))
    np.testing.assert_array_equal(W, V.T)


def test_experts_and_groups_each_have_their_own():
    stacked = Orthogonal().draw(Key(0), (4, 20, 30), fans.experts((4, 20, 30), out_axis=2, in_axis=1))
    for expert in stacked:
        assert orthonormal(expert.astype(np.float64))
    assert np.abs(stacked[0] - stacked[1]).max() > 0.1
    grouped = Orthogonal().draw(Key(0), (12, 5, 3, 3), fans.conv((12, 5, 3, 3), groups=3))
    for group in grouped.reshape(3, 4, 45):
        assert orthonormal(group.astype(np.float64))
    transposed = Orthogonal().draw(Key(0), (12, 5, 3, 3), fans.conv_transpose((12, 5, 3, 3), groups=3))
    for group in transposed.reshape(3, 4, 5, 9):  # (in, out, window) → (out, in·window)
        assert orthonormal(group.transpose(1, 0, 2).reshape(5, 36).astype(np.float64))


def test_gates_are_orthogonal_each_and_jointly_are_not():
    shape, place = (128, 32), fans.linear((128, 32))
    gates = PerGate(Orthogonal(), 4).draw(Key(0), shape, place).reshape(4, 32, 32)
    joint = Orthogonal().draw(Key(0), shape, place).reshape(4, 32, 32)
    for gate, part in zip(gates, joint, strict=True):
        np.testing.assert_allclose(np.linalg.svd(gate, compute_uv=False), 1.0, atol=1e-5)
        assert np.linalg.svd(part, compute_uv=False).max() < 0.95
    assert joint.std() == pytest.approx(gates.std() / 2, rel=0.01)


def isometry(weight, groups=1):
    """Singular values of a circular convolution, from its Fourier transform."""
    weight = weight.reshape(groups, -1, *weight.shape[1:]).astype(np.float64)
    spectrum = np.fft.fft2(weight, s=(8, 8)).transpose(0, 3, 4, 1, 2)
    return np.linalg.svd(spectrum, compute_uv=False)


@pytest.mark.parametrize(("shape", "groups"), [((16, 16, 3, 3), 1), ((24, 8, 3, 5), 1), ((24, 4, 2, 2), 3)])
def test_delta_orthogonal_is_an_isometry_and_a_flattened_one_is_not(shape, groups):
    place = fans.conv(shape, groups=groups)
    delta = DeltaOrthogonal(1.5).draw(Key(0), shape, place)
    np.testing.assert_allclose(isometry(delta, groups), 1.5, atol=1e-5)
    assert np.ptp(isometry(Orthogonal().draw(Key(0), shape, place), groups)) > 0.3


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8, 4), (6, 8, 3, 4), (12, 3, 3, 3, 3)])
def test_centre_tap_is_that_of_torch(shape):
    groups = 4 if shape[1] == 3 else 1
    place = fans.conv(shape, groups=groups)
    theirs = torch.nn.init.dirac_(torch.empty(shape), groups=groups).numpy()
    np.testing.assert_array_equal(Dirac().draw(Key(0), shape, place), theirs)


def test_device_and_dtype_defaults_of_the_caller_do_not_matter():
    plain = Orthogonal().draw(Key(0), (20, 20), fans.linear((20, 20)))
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            inside = Orthogonal().draw(Key(0), (20, 20), fans.linear((20, 20)))
    finally:
        torch.set_default_dtype(before)
    np.testing.assert_array_equal(plain, inside)


def test_random_state_of_torch_is_left_alone():
    state = torch.get_rng_state()
    Orthogonal().draw(Key(0), (20, 20), fans.linear((20, 20)))
    assert torch.equal(torch.get_rng_state(), state)
