"""The table of exact gains, and what a callable must be."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.integrate
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from fanin.errors import InputError, UnknownNameError
from fanin.theory import gain, moments

# E f, E f², (E f²)^−½, (Var f)^−½, (E f′²)^−½ under N(0, 1), to eight digits; by adaptive quadrature elsewhere.
TABLE = {
    "relu": (0.39894228, 0.50000000, 1.41421356, 1.71285855, 1.41421356),
    "leaky_relu(0.01)": (0.39495286, 0.50005000, 1.41414286, 1.70483163, 1.41414286),
    "relu6": (0.39894228, 0.50000000, 1.41421357, 1.71285855, 1.41421356),
    "elu": (0.16052057, 0.64494542, 1.24519830, 1.27084342, 1.22342856),
    "selu": (0.0, 1.0, 1.0, 1.0, 0.96602578),
    "gelu": (0.28209479, 0.42522148, 1.53353044, 1.70092624, 1.48111441),
    "gelu_tanh": (0.28203859, 0.42519371, 1.53358052, 1.70091656, 1.48116806),
    "silu": (0.20662096, 0.35577552, 1.67653247, 1.78718722, 1.62332026),
    "tanh": (0.0, 0.39429449, 1.59253742, 1.59253742, 1.46741359),
    "hardtanh": (0.0, 0.51605855, 1.39203614, 1.39203614, 1.21028706),
    "erf": (0.0, 0.46455905, 1.46716695, 1.46716695, 1.32521835),
    "sin": (0.0, 0.43233236, 1.52086662, 1.52086662, 1.32725060),
    "sigmoid": (0.5, 0.29337904, 1.84622855, 4.80131337, 4.72264609),
    "softplus": (0.80605918, 0.92124591, 1.04186684, 1.91912598, 1.84622855),
    "relu^2": (0.5, 1.5, 0.81649658, 0.89442719, 0.70710678),
}

# Brock et al., 2021: the gains of NFNet as published, by Monte Carlo.
NFNET = {
    "relu": 1.713959,
    "leaky_relu(0.01)": 1.705903,
    "relu6": 1.713148,
    "elu": 1.271600,
    "selu": 1.000852,
    "gelu": 1.701504,
    "silu": 1.788129,
    "tanh": 1.593912,
    "sigmoid": 4.803835,
    "softplus": 1.920332,
}


@pytest.mark.parametrize("name", TABLE)
def test_table_to_eight_digits(name: str) -> None:
    m = moments(name)
    got = (m.mean, m.second_moment, gain(name), gain(name, "variance"), gain(name, kind="backward"))
    for value, expected in zip(got, TABLE[name]):
        assert abs(value - expected) <= 5.1e-9  # half a unit of the eighth decimal


@pytest.mark.parametrize("name", NFNET)
def test_nfnet_constants_within_a_thousandth_and_above(name: str) -> None:
    ratio = NFNET[name] / gain(name, "variance")
    assert 1.0 < ratio < 1.001
    assert not 1.0 < NFNET[name] / gain(name, "second_moment") < 1.001 or name in ("selu", "tanh")


@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "hardswish", "elu", "softsign"])
@pytest.mark.parametrize("q", [0.1, 1.0, 9.0])
def test_adaptive_quadrature_agrees(name: str, q: float) -> None:
    from fanin.theory.activations import find

    f = find(name)

    def integrand(z: float) -> float:
        return float(f.function(np.array(math.sqrt(q) * z))) ** 2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    edges = sorted({-12.0, 12.0, *(kink / math.sqrt(q) for kink in f.kinks)})
    value = sum(scipy.integrate.quad(integrand, a, b, epsabs=1e-13, limit=200)[0] for a, b in itertools.pairwise(edges))
    assert abs(value - moments(name, q).second_moment) < 1e-11


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (torch.nn.GELU(), "gelu"),
        (F.gelu, "gelu"),
        (torch.tanh, "tanh"),
        (np.tanh, "tanh"),
        (math.tanh, "tanh"),
        (lambda x: np.maximum(x, 0), "relu"),
        (lambda x: max(0.0, x), "relu"),
        (lambda x: x * torch.sigmoid(x), "silu"),
        (lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)), "gelu"),
        (torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU()), "relu"),
        (torch.nn.LeakyReLU(0.2), "leaky_relu(0.2)"),
        (torch.nn.PReLU(3, init=0.1), "leaky_relu(0.1)"),
    ],
)
@pytest.mark.parametrize("kind", ["second_moment", "variance", "backward"])
def test_any_way_to_write_a_function_gives_its_gain(fn, name: str, kind) -> None:
    assert math.isclose(gain(fn, kind), gain(name, kind), rel_tol=1e-8)


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.floats(-2, 2), st.floats(-2, 2))
def test_kinks_are_found_wherever_they_are(kink: float, left: float, right: float) -> None:
    """A broken line has closed moments: the quadrature finds its kink unaided."""
    found = moments(lambda x: np.where(x > kink, right, left) * (x - kink))
    upper = math.erfc(kink / math.sqrt(2)) / 2
    density = math.exp(-(kink**2) / 2) / math.sqrt(2 * math.pi)
    half = (1 + kink**2) * upper - kink * density  # E (z − k)²; z > k
    expected = right**2 * half + left**2 * (1 + kink**2 - half)
    assert abs(found.second_moment - expected) < 1e-11
    assert abs(found.derivative_second_moment - (right**2 * upper + left**2 * (1 - upper))) < 1e-8
    if abs(left - right) > 1e-3:
        assert len(found.kinks) == 1
        assert abs(found.kinks[0] - kink) < 1e-8


def test_error_bound_is_a_bound_and_notices_roughness() -> None:
    smooth = moments(lambda x: np.sin(30 * x))
    assert abs(smooth.second_moment - 0.5) <= smooth.error_bound < 1e-9
    assert math.isinf(moments(lambda x: np.sqrt(np.abs(x))).derivative_second_moment)
    with pytest.raises(InputError, match="no gain"):
        gain(lambda x: np.sqrt(np.abs(x)), "backward")


@pytest.mark.parametrize(
    ("fn", "reason"),
    [
        (lambda x: np.exp(x**2), "too fast"),
        (lambda x: np.exp(x**2 / 3.9), "too fast"),
        (np.sqrt, "NaN at x = -"),
        (lambda x: 1 / x, "infinite at x"),
        (np.cumsum, "not elementwise: permuting"),
        (lambda x: torch.softmax(x, -1), "not elementwise"),
        (torch.nn.LayerNorm(16), "not elementwise"),
        (torch.nn.Linear(16, 4), "expected the same shape"),
        (lambda x: x - x.mean(), "not elementwise"),
        (lambda x: x * np.random.rand(*x.shape), "random"),
        (lambda x: F.dropout(x, 0.5), "random"),
        (lambda x: x.to(torch.bfloat16).relu(), "16 bits"),
        (lambda x: np.sin(1e5 * x * x), "too irregular"),
        (lambda x: None, "could not be called|not elementwise"),
        (3, "expected a name"),
    ],
)
def test_what_cannot_be_integrated_is_refused_with_the_reason(fn, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        gain(fn)


def test_refusals_name_the_argument() -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'gelu'"):
        gain("gelou")
    with pytest.raises(InputError, match="kind"):
        gain("relu", "forward")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="q"):
        gain("relu", q=0)
    with pytest.raises(InputError, match="slope"):
        gain("leaky_relu(slope=2)")
    with pytest.raises(InputError, match="no gain"):
        gain(lambda x: 0 * x + 1, "variance")


def test_probing_leaves_the_callers_world_as_it_was() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(16), torch.nn.Dropout(0.5)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    for fn in (module, lambda x: F.dropout(x, 0.5), lambda x: x * np.random.rand(*x.shape)):
        with pytest.raises(InputError):
            gain(fn)
    assert module.training
    assert module[0].weight.dtype == torch.float32
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state, np.random.get_state()[1])


def test_torch_is_not_imported_with_the_theory() -> None:
    code = "import sys, fanin.theory; fanin.theory.gain('gelu'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
