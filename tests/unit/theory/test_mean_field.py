"""Criticality, fixed points, depth scales, phase diagram: every number against a second road."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fanin.errors import InputError
from fanin.theory import (
    chi_par,
    chi_perp,
    correlation_map,
    critical,
    critical_line,
    depth_scale,
    finite_width_spread,
    fixed_points,
    gain,
    length_map,
    phase_diagram,
    recommend,
)
from fanin.theory.activations import find

# σ_w², σ_b², χ∥ at q* = 1; then χ⊥, χ∥ at σ_w² = 1/E f², σ_b² = 0.
CRITICAL = {
    "relu": (2.0, 0.0, 1.0, 1.0, 1.0),
    "leaky_relu(0.01)": (1.99980002, 0.0, 1.0, 1.0, 1.0),
    "relu6": (2.0, 0.0, 1.0, 1.0, 1.0),
    "elu": (1.49677744, 0.03466025, 0.860087, 1.0359, 0.8910),
    "selu": (0.93320580, 0.06679420, 0.730372, 1.0716, 0.7826),
    "gelu": (2.19369990, 0.06719167, 1.067192, 1.0720, 1.1441),
    "gelu_tanh": (2.19385882, 0.06718503, 1.067419, 1.0720, 1.1443),
    "silu": (2.63516866, 0.06247150, 1.099340, 1.0666, 1.1726),
    "tanh": (2.15330265, 0.15096463, 0.391465, 1.1778, 0.4611),
    "hardtanh": (1.46479477, 0.24408013, 0.291125, 1.3229, 0.3851),
    "erf": (1.75620368, 0.18413968, 0.333333, 1.2257, 0.4086),
    "sin": (1.76159416, 0.23840584, 0.238406, 1.3130, 0.3130),
    "relu^2": (0.5, 0.25, 1.5, 1.3333, 2.0),
    "sigmoid": (None, None, None, 0.1528, 0.1063),
    "softplus": (None, None, None, 0.3185, 0.4921),
}


@pytest.mark.parametrize("name", [name for name in CRITICAL if CRITICAL[name][0] is not None])
def test_critical_points_at_one(name: str) -> None:
    weight_var, bias_var, chi, _, _ = CRITICAL[name]
    point = critical(name, q=1.0)
    assert abs(point.weight_var - weight_var) < 5.1e-9
    assert abs(point.bias_var - bias_var) < 5.1e-9
    assert abs(point.chi_par - chi) < 5.1e-7
    assert point.chi_perp == 1
    assert abs(chi_perp(name, 1.0, point.weight_var) - 1) < 1e-12
    assert abs(length_map(name, 1.0, point.weight_var, point.bias_var) - 1) < 1e-12


@pytest.mark.parametrize("name", CRITICAL)
def test_slopes_at_the_exact_gain(name: str) -> None:
    weight_var = gain(name) ** 2
    assert abs(chi_perp(name, 1.0, weight_var) - CRITICAL[name][3]) < 5.1e-5
    assert abs(chi_par(name, 1.0, weight_var) - CRITICAL[name][4]) < 5.1e-5
    step = 1e-5
    rise = length_map(name, 1 + step, weight_var) - length_map(name, 1 - step, weight_var)
    assert abs(rise / (2 * step) - chi_par(name, 1.0, weight_var)) < 1e-8


@pytest.mark.parametrize(
    ("name", "bias_var", "expected"),
    [
        ("tanh", 0.05, (1.76095464, 0.57004788)),
        ("tanh", 0.01, (1.42420529, 0.27330091)),
        ("hardtanh", 0.05, (1.16554469, 0.46386397)),
        ("erf", 0.05, (math.pi / 4 * math.sqrt(1 + 4 * 0.51717683798), 0.51717684)),  # 4/(π√(1+4q)) = E f′²
        ("sigmoid", 0.0, (103.0075539, 45.6242778)),
        ("relu", 0.0, (2.0, 1.0)),
        ("elu", 0.0, (1.0, 0.0)),
        ("selu", 0.0, (0.47677102, 0.0)),
        ("gelu", 0.0, (4.0, 0.0)),
        ("silu", 0.0, (4.0, 0.0)),
        ("tanh", 0.0, (1.0, 0.0)),
        ("hardtanh", 0.0, (1.0, 0.0)),
        ("erf", 0.0, (math.pi / 4, 0.0)),
        ("sin", 0.0, (1.0, 0.0)),
    ],
)
def test_critical_points_of_a_bias(name: str, bias_var: float, expected: tuple[float, float]) -> None:
    point = critical(name, bias_var=bias_var)
    assert point.weight_var == pytest.approx(expected[0], rel=3e-9, abs=5.1e-9)
    assert point.q == pytest.approx(expected[1], rel=1e-8, abs=5.1e-9)
    assert point.bias_var == bias_var


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("gelu", (1.98305826, 0.17292239, 3.56155281)),
        ("gelu_tanh", (1.98288824, 0.17289520, 3.55677284)),
        ("silu", (1.98800468, 0.55514317, 14.32017362)),
    ],
)
def test_half_stable_points_are_the_default(name: str, expected: tuple[float, float, float]) -> None:
    point = critical(name)
    assert (point.weight_var, point.bias_var, point.q) == pytest.approx(expected, abs=6e-9)
    assert point.stability == "half-stable"
    assert point.chi_par == pytest.approx(1, abs=1e-9)
    if name == "gelu":
        assert point.q == pytest.approx((3 + math.sqrt(17)) / 2, abs=1e-9)


def test_relu6_leaves_the_rectifier_at_large_q() -> None:
    point = critical("relu6", q=4.0)
    assert (point.weight_var, point.bias_var) == pytest.approx((2.00541, 0.00920), abs=5.1e-6)


def test_no_usable_critical_point_is_said_plainly() -> None:
    with pytest.raises(InputError, match=r"no usable critical point.*σ_b² < 0 for all q < 45\.6243.*103\.0075539"):
        critical("sigmoid")
    with pytest.raises(InputError, match=r"no usable critical point.*σ_b² < 0 for every q"):
        critical("softplus")
    with pytest.raises(InputError, match="χ∥ > 1 all along"):
        critical("relu^2")
    with pytest.raises(InputError, match=r"σ_b² = -5\.5433459.*inadmissible"):
        critical("sigmoid", q=1.0)
    with pytest.raises(InputError, match=r"σ_b² = -2\.1401218.*inadmissible"):
        critical("softplus", q=1.0)
    line = critical_line("softplus", np.logspace(-4, math.log10(400), 60))
    assert not line.admissible.any()
    assert critical("sigmoid", q=50.0).bias_var > 0


def test_arguments_are_checked() -> None:
    for bad in (-1, math.nan, math.inf, "x", True):
        with pytest.raises(InputError, match="bias_var"):
            critical("tanh", bias_var=bad)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="inadmissible"):
        length_map("tanh", 1.0, 1.0, -0.1)
    with pytest.raises(InputError, match="both"):
        critical("tanh", q=1.0, bias_var=0.1)
    with pytest.raises(InputError, match="two inputs"):
        critical("swiglu")
    with pytest.raises(InputError, match="weight_var"):
        phase_diagram("tanh", [-1.0, 2.0])


def test_fixed_points_of_the_classics() -> None:
    (point,) = fixed_points("tanh", 1.76, 0.05)
    assert point.chi_perp == pytest.approx(0.99980, abs=5e-6)
    assert point.q == pytest.approx(0.56946, abs=5e-6)
    # torch.nn.init.calculate_gain("tanh") = 5/3 and ("selu") = 3/4
    point = fixed_points("tanh", (5 / 3) ** 2, correlations=False)[-1]
    assert (point.q, point.chi_perp) == pytest.approx((1.17848, 1.2098), abs=5e-5)
    point = fixed_points("selu", 0.75**2, correlations=False)[-1]
    assert (point.q, point.chi_perp) == pytest.approx((0.0230, 1.0037), abs=5e-5)
    # four times Glorot for the logistic function, and one times
    (point,) = fixed_points("sigmoid", 16.0)
    assert (point.q, point.chi_perp) == pytest.approx((5.855, 0.399), abs=5e-4)
    (point,) = fixed_points("sigmoid", 1.0)
    assert point.chi_perp == pytest.approx(0.0557, abs=5e-5)
    assert 16 * chi_perp("sigmoid", 1.0, 1.0) == pytest.approx(0.717, abs=5e-4)
    # SIREN: pre-activations settle at the root of q = 1 − e^(−2q)
    point = fixed_points("sin", 2.0, correlations=False)[-1]
    assert point.q == pytest.approx(0.79681213, abs=5e-9)
    assert point.stability == "stable"
    (point,) = fixed_points("relu", 2.0)
    assert point.any_q
    assert fixed_points("relu", 1.0)[0].q == 0
    assert fixed_points("relu^2", 0.1, 0.5)[0].stability == "stable"
    assert fixed_points("linear", 1.5, 0.1) == ()


def test_fixed_points_reproduce_themselves_and_attract() -> None:
    for name, weight_var, bias_var in (
        ("tanh", 3.0, 0.1),
        ("erf", 2.0, 0.05),
        ("gelu", 1.5, 0.3),
        ("sigmoid", 9.0, 0.2),
    ):
        for point in fixed_points(name, weight_var, bias_var):
            if point.q == 0:
                continue
            assert length_map(name, point.q, weight_var, bias_var) == pytest.approx(point.q, rel=1e-10)
            q = 1.01 * point.q
            for _ in range(3):
                q = length_map(name, q, weight_var, bias_var)
            assert (abs(q / point.q - 1) < 0.01) == (point.stability == "stable")
            for c in point.correlation:
                assert correlation_map(name, c.c, point.q, weight_var, bias_var) == pytest.approx(c.c, abs=1e-6)


def test_correlation_map_against_closed_kernels_and_sampling() -> None:
    random = np.random.default_rng(3)
    z1, z2 = random.normal(size=(2, 400_000))
    for c in (-0.9, -0.3, 0.0, 0.4, 0.95, 1.0):
        sine = math.sqrt(1 - c * c)
        arc = (sine + c * (math.pi - math.acos(c))) / math.pi  # Cho & Saul, 2009
        assert correlation_map("relu", c, 1.7, 2.0) == pytest.approx(arc, abs=1e-12)
        inside = 2 / math.pi * math.asin(2 * c * 0.8 / (1 + 2 * 0.8))  # Williams, 1997
        assert correlation_map("erf", c, 0.8, 1.0) * length_map("erf", 0.8, 1.0) == pytest.approx(inside, abs=1e-12)
        f = find("gelu")
        sample = f.function(z1) * f.function(c * z1 + sine * z2)
        expected = correlation_map("gelu", c, 1.0, 1.0) * length_map("gelu", 1.0, 1.0)
        assert abs(sample.mean() - expected) < 5 * sample.std() / math.sqrt(len(sample))
        assert abs(sample.mean() - 1.05 * expected) > 5 * sample.std() / math.sqrt(len(sample)) or c < 0.5


def test_depth_scales() -> None:
    scale = depth_scale("tanh", 1.5, 0.05)
    (point,) = fixed_points("tanh", 1.5, 0.05)
    assert scale.length == pytest.approx(-1 / math.log(point.chi_par))
    assert scale.correlation == pytest.approx(-1 / math.log(point.chi_perp))
    point = critical("tanh", bias_var=0.05)
    assert depth_scale("tanh", point.weight_var, 0.05).correlation > 1e6
    assert math.isinf(depth_scale("relu", 2.0).correlation)
    with pytest.raises(InputError, match="grows without bound"):
        depth_scale("linear", 2.0, 0.1)


def test_phase_diagram_agrees_with_single_points() -> None:
    widths, biases = np.linspace(0.5, 4, 8), np.array([0.0, 0.02, 0.2])
    diagram = phase_diagram("tanh", widths, biases)
    for i, bias_var in enumerate(biases):
        for j, weight_var in enumerate(widths):
            with_c = i == 1 and j % 3 == 0
            points = fixed_points("tanh", weight_var, bias_var, correlations=with_c)
            stable = [p for p in points if p.stability == "stable"]
            assert diagram.q[i, j] == pytest.approx(stable[-1].q, rel=2e-6, abs=1e-9)
            assert diagram.chi_perp[i, j] == pytest.approx(stable[-1].chi_perp, rel=1e-5)
            if stable[-1].correlation:
                assert diagram.c[i, j] == pytest.approx(stable[-1].correlation[0].c, abs=2e-3)
    assert phase_diagram("linear", [2.0], [0.1]).q[0, 0] == math.inf
    assert phase_diagram("linear", [0.5], [0.0]).q[0, 0] == 0


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_finite_width_spread_grows_as_depth_over_width(name: str) -> None:
    """Var over networks of the mean square pre-activation, against independent simulated networks."""
    width, depth, nets = 64, 12, 1500
    point = critical(name) if name == "relu" else critical(name, q=1.0)
    random = np.random.default_rng(5)
    h = random.normal(size=(nets, width))
    measured = []
    for _ in range(depth):
        a = find(name).function(h)
        # Given its input, a Gaussian layer's outputs are independent with variance σ_w² mean(a²) + σ_b².
        q = point.weight_var * (a**2).mean(1) + point.bias_var
        measured.append(q.var() / q.mean() ** 2)
        h = np.sqrt(q)[:, None] * random.normal(size=(nets, width))
    predicted = finite_width_spread(name, [width] * depth, weight_var=point.weight_var, bias_var=point.bias_var)
    # Relative error of a variance from n draws: √((κ−1)/n), κ = 9 for the skewed law of q; plus the next order, L/n.
    tolerance = 4 * math.sqrt(8 / nets) + predicted[-1]
    assert measured[-1] / predicted[-1] == pytest.approx(1, abs=tolerance)
    assert (
        measured[-1] / finite_width_spread(name, [4 * width] * depth, weight_var=point.weight_var)[-1] > 1.5 + tolerance
    )


@pytest.mark.parametrize(
    ("name", "weight_var", "bias_var", "q"),
    [("tanh", 2.15330265, 0.15096463, 1.0), ("relu", 2.0, 0.0, 1.0), ("selu", 1.0, 0.0, 1.0), ("tanh", 4.0, 0.0, 2.0)],
)
def test_gradient_factor_of_a_simulated_chain(name: str, weight_var: float, bias_var: float, q: float) -> None:
    """Thirty layers: the gradient's second moment changes by the product of χ⊥ along the predicted lengths."""
    width, depth, batch = 600, 30, 4
    random = np.random.default_rng(8)
    f = find(name)
    h = math.sqrt(q) * random.normal(size=(batch, width))
    weights, slopes, log_factor = [], [], 0.0
    for _ in range(depth):
        weights.append(random.normal(0, math.sqrt(weight_var / width), (width, width)))
        slopes.append(f.derivative(h))
        h = f.function(h) @ weights[-1].T + random.normal(0, math.sqrt(bias_var), width)
        log_factor += math.log(chi_perp(name, q, weight_var))
        q = length_map(name, q, weight_var, bias_var)
    g = random.normal(size=(batch, width))
    start = (g**2).mean()
    for weight, slope in zip(reversed(weights), reversed(slopes)):
        g = (g @ weight) * slope
    # A factor of a layer has relative standard deviation about √(5/width); they add in the logarithm.
    tolerance = 3 * math.sqrt(5 * depth / width)
    assert abs(math.log((g**2).mean() / start) - log_factor) < tolerance
    assert abs(math.log((g**2).mean() / start) - log_factor - depth * math.log(1.1)) > tolerance


def test_recommendations() -> None:
    assert recommend("relu", 50).rule == "He"
    assert recommend("leaky_relu(0.2)", 50).rule == "He"
    assert recommend("linear", 50).rule == "LeCun"
    assert recommend("selu", 50, norm="batch").rule == "LeCun"
    assert recommend("gelu", 50).rule == "critical"
    assert recommend("gelu", 50, norm="layer").gain == pytest.approx(1.53353044, abs=5e-9)
    assert recommend("swiglu", 50, norm="rms").gain == pytest.approx(1.67653247, abs=5e-9)
    sigmoid = recommend("sigmoid", 30)
    assert "no usable critical point" in sigmoid.why
    he = {cost.rule: cost for cost in recommend("gelu", 60).cost}["He (σ_w² = 2)"]
    assert he.forward < 1e-15
    own = recommend("tanh", 60).cost[0]
    assert (own.forward, own.backward) == pytest.approx((1, 1), rel=1e-6)
    with pytest.raises(InputError, match="depth"):
        recommend("relu", 0)
