"""Every registered activation: closed form = quadrature = Monte Carlo; derivative = finite difference = autograd."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import fanin.theory.activations as package
from fanin.theory import gain, moments
from fanin.theory.activations import REGISTRY, Activation, find, of_module, of_op

ACTIVATIONS = [REGISTRY[name]() for name in REGISTRY if issubclass(REGISTRY[name], Activation)]
GATED = [REGISTRY[name]() for name in REGISTRY if not issubclass(REGISTRY[name], Activation)]
VARIANTS = [
    find("leaky_relu(0.3)"),
    find("elu(0.7)"),
    find("celu(2)"),
    find("softplus(3)"),
    find("hardtanh(-0.5, 2)"),
    find("softshrink(1)"),
    find("hardshrink(1)"),
    find("threshold(0.2, -1)"),
    find("sine(2)"),
    find("prelu(0.1)"),
    find("rrelu(0.2, 0.4)"),
    find("shaped", input_scale=1.3, input_shift=0.6, output_shift=-0.5, output_scale=2.0),
]
EVERY = [*ACTIVATIONS, *VARIANTS]
SAMPLES = 400_000
NORMAL = np.random.default_rng(20).normal(size=SAMPLES)

# Independent implementations: torch's own functions.
TORCH = {
    "leaky_relu": lambda x, p: torch.nn.functional.leaky_relu(x, p["negative_slope"]),
    "elu": lambda x, p: torch.nn.functional.elu(x, p["alpha"]),
    "celu": lambda x, p: torch.nn.functional.celu(x, p["alpha"]),
    "gelu_tanh": lambda x, p: torch.nn.functional.gelu(x, approximate="tanh"),
    "softplus": lambda x, p: torch.nn.functional.softplus(x, p["beta"], threshold=50),
    "hardtanh": lambda x, p: torch.nn.functional.hardtanh(x, p["min_val"], p["max_val"]),
    "softshrink": lambda x, p: torch.nn.functional.softshrink(x, p["lambd"]),
    "hardshrink": lambda x, p: torch.nn.functional.hardshrink(x, p["lambd"]),
    "threshold": lambda x, p: torch.nn.functional.threshold(x, p["threshold"], p["value"]),
    "prelu": lambda x, p: torch.nn.functional.prelu(x, torch.tensor([p["weight"]], dtype=x.dtype)),
    "rrelu": lambda x, p: torch.nn.functional.rrelu(x, p["lower"], p["upper"], training=False),
    "log_sigmoid": lambda x, p: torch.nn.functional.logsigmoid(x),
    "sin": lambda x, p: torch.sin(x),
    "sine": lambda x, p: torch.sin(p["w0"] * x),
    "erf": lambda x, p: torch.erf(x),
    "linear": lambda x, p: 1.0 * x,
    "relu_squared": lambda x, p: torch.relu(x) ** 2,
    "scaled_tanh": lambda x, p: p["alpha"] * torch.tanh(p["beta"] * x),
    "shaped": lambda x, p: (
        p["output_scale"] * (torch.tanh(p["input_scale"] * x + p["input_shift"]) + p["output_shift"])
    ),
}


def torch_function(activation: Activation):
    known = TORCH.get(activation.name)
    if known is not None:
        return lambda x: known(x, activation.parameters)
    return getattr(torch.nn.functional, activation.name)


@pytest.mark.parametrize("activation", EVERY, ids=str)
def test_function_and_derivative_are_those_of_torch(activation: Activation) -> None:
    grid = np.linspace(-7.03, 7.01, 801)
    x = torch.tensor(grid, dtype=torch.float64, requires_grad=True)
    y = torch_function(activation)(x)
    y.sum().backward()
    assert np.allclose(activation.function(grid), y.detach().numpy(), rtol=1e-12, atol=1e-13)
    assert x.grad is not None
    # torch keeps hardsigmoid's 1/6 in float32 on the way back.
    rtol = 1e-7 if activation.name == "hardsigmoid" else 1e-9
    assert np.allclose(activation.derivative(grid), x.grad.numpy(), rtol=rtol, atol=1e-11)


def finite_difference_error(activation: Activation, scale: float = 1.0) -> float:
    x = np.linspace(-5.013, 5.017, 503)
    x = x[np.all([np.abs(x - kink) > 1e-3 for kink in (*activation.kinks, math.inf)], axis=0)]
    step = 1e-5
    numeric = (activation.function(x + step) - activation.function(x - step)) / (2 * step)
    size = max(1.0, float(np.abs(numeric).max()) ** 3)
    return float(np.abs(numeric - scale * activation.derivative(x)).max()) / size


@pytest.mark.parametrize("activation", EVERY, ids=str)
def test_derivative_is_the_finite_difference(activation: Activation) -> None:
    assert finite_difference_error(activation) < 1e-8
    if np.abs(activation.derivative(np.linspace(-5, 5, 99))).max() > 0:
        assert finite_difference_error(activation, scale=1.001) > 1e-8  # the test sees a derivative 0.1 % off


@pytest.mark.parametrize("activation", EVERY, ids=str)
def test_closed_forms_are_the_quadrature(activation: Activation) -> None:
    found = moments(activation)
    for name, value in activation.closed_forms().items():
        assert abs(getattr(found, name) - value) <= max(found.error_bound, 4e-15 * max(1.0, abs(value))), name
    assert found.error_bound < 1e-10 * max(1.0, found.derivative_second_moment)


@pytest.mark.parametrize("activation", EVERY, ids=str)
@pytest.mark.parametrize("q", [0.3, 1.0, 4.0])
def test_quadrature_is_the_monte_carlo(activation: Activation, q: float) -> None:
    found = moments(activation, q)
    x = math.sqrt(q) * NORMAL
    values, slopes = activation.function(x), activation.derivative(x)
    for sample, expected in (
        (values, found.mean),
        (values**2, found.second_moment),
        ((values - found.mean) ** 2, found.variance),
        (slopes**2, found.derivative_second_moment),
    ):
        # Five standard errors, and what an event too rare for this sample may add.
        error = 5 * float(sample.std()) / math.sqrt(SAMPLES) + 5 * float(np.abs(sample).max()) / SAMPLES + 1e-12
        assert abs(float(sample.mean()) - expected) < error


@pytest.mark.parametrize("name", ["relu", "gelu", "tanh"])
def test_monte_carlo_would_see_a_wrong_moment(name: str) -> None:
    sample = REGISTRY[name]().function(NORMAL) ** 2
    error = 5 * float(sample.std()) / math.sqrt(SAMPLES)
    assert abs(float(sample.mean()) - 1.03 * moments(name).second_moment) > error


@pytest.mark.parametrize("activation", EVERY, ids=str)
def test_unregistered_copy_gives_the_same_moments(activation: Activation) -> None:
    """The road without knowledge of kinks or derivative: bisection and differentiated polynomials."""
    blind, known = moments(lambda x: activation.function(x)), moments(activation)
    for name in ("mean", "second_moment", "variance", "derivative_second_moment"):
        tolerance = 1e-11 * max(1.0, known.derivative_second_moment) + blind.error_bound
        assert abs(getattr(blind, name) - getattr(known, name)) < tolerance, name
    assert np.allclose(blind.kinks, known.kinks, atol=1e-9)


@pytest.mark.parametrize("activation", EVERY, ids=str)
def test_limits_and_kinks_say_where_f_is_flat_and_rough(activation: Activation) -> None:
    for limit, x in zip(activation.limits, (-1e6, 1e6)):
        value = float(activation.function(np.array([x]))[0])
        if math.isfinite(limit):
            assert abs(value - limit) < 1e-5 * max(1.0, abs(limit))
        elif not math.isnan(limit):
            assert abs(value) > 5
    found = moments(activation)
    assert set(np.round(found.kinks, 9)) <= {round(kink, 9) for kink in activation.kinks}


@pytest.mark.parametrize("unit", GATED, ids=str)
def test_gated_units_by_monte_carlo(unit) -> None:
    g, u = NORMAL[: SAMPLES // 2], NORMAL[SAMPLES // 2 :]
    sample = (unit.activation.function(g) * u) ** 2
    assert abs(float(sample.mean()) - moments(unit).second_moment) < 5 * float(sample.std()) / math.sqrt(len(sample))
    assert math.isclose(gain(unit.name), gain(unit.gate), rel_tol=1e-14)


def test_every_file_is_registered() -> None:
    files = {path.stem for path in Path(package.__file__).parent.glob("[!_]*.py")}
    missing = files - set(REGISTRY)
    assert not missing, f"add a line to theory/activations/__init__.py for {missing}"


def test_elementwise_modules_of_torch_are_all_known() -> None:
    """Every activation class of torch.nn that takes and returns one tensor of the same shape, entry by entry."""
    not_elementwise = {"MultiheadAttention", "Softmax", "Softmax2d", "Softmin", "LogSoftmax"}
    for name in torch.nn.modules.activation.__all__:
        if name in not_elementwise:
            continue
        assert name in REGISTRY, name
        module = torch.nn.Threshold(0.1, 20.0) if name == "Threshold" else getattr(torch.nn, name)()
        found = of_module(module)
        assert found is not None
        if name != "GLU":
            x = torch.linspace(-4, 4, 33, dtype=torch.float64)
            y = module.double().eval()(x).detach().numpy()
            assert np.allclose(found.function(x.numpy()), y, atol=1e-8), name


def test_parameters_are_read_from_modules_and_ops() -> None:
    assert of_module(torch.nn.LeakyReLU(0.2)) == find("leaky_relu", negative_slope=0.2)
    assert of_module(torch.nn.GELU(approximate="tanh")) == find("gelu_tanh")
    assert of_op("hardtanh", {"min_val": 0, "max_val": 6}).parameters == {"min_val": 0.0, "max_val": 6.0}
    assert of_op("gelu", {"approximate": "tanh"}) == find("gelu_tanh")
    assert of_op("gelu", {"approximate": "none"}) == find("gelu")
    assert of_op("conv2d", {}) is None
    assert of_module(torch.nn.Linear(2, 2)) is None
