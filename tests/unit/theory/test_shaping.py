"""DKS and TAT: published constants, every condition by quadrature and by sampling, composed C maps, refusals."""

from __future__ import annotations

import doctest
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from fanin import theory
from fanin.errors import InputError
from fanin.theory._shaping import leaky_correlation
from fanin.theory.activations import find, of_op
from fanin.theory.activations.shaped import Shaped

SAMPLES = 300_000
Z = np.random.default_rng(3).normal(size=(2, SAMPLES))


def resnet101(x, r, shortcut=0.36):
    """Subnetworks of the modified ResNet-101 of the papers: bottlenecks beside shortcuts of share 0.6²."""
    branch = r(r(r(x)))
    for blocks in (3, 4, 23, 3):
        for block in range(blocks):
            skip = r(x) if block == 0 else x
            x = shortcut * skip + (1 - shortcut) * r(r(r(x)))
    return max(r(x), branch)


# Constants that the authors' package is tested with: zeta 1.2, eta 0.75, tau 0.2 on that network.
PUBLISHED = {
    ("dks", "softplus"): (0.18761008168, 0.40688063442, -0.92134661514, 8.87867254367),
    ("dks", "tanh"): (0.07461073058, 0.55669152000, -0.50343787687, 18.00263596444),
    ("dks", "gelu_tanh"): (0.07036271496, 0.25868372486, -0.15758328114, 20.24957330519),
    ("dks", "gelu"): (0.07043253127, 0.25948929793, -0.15815378962, 20.21158902316),
    ("tat", "softplus"): (0.15011489795, 0.53745999011, -0.99648101447, 10.54880187881),
    ("tat", "tanh"): (0.05802052186, 0.52186398041, -0.47964307044, 22.36066261763),
}


@pytest.mark.parametrize(("method", "name"), PUBLISHED)
def test_constants_are_the_published_ones(method, name):
    options = {"zeta": 1.2} if method == "dks" else {"tau": 0.2}
    found = getattr(theory, method)(name, resnet101, **options)
    # Their root finder stops at an error of 1e-8 in a target that is 2.8e-3 away from no shaping at all.
    assert np.allclose(found.constants, PUBLISHED[method, name], rtol=1e-6)
    if method == "dks":
        assert not np.allclose(theory.dks(name, resnet101, zeta=1.201).constants, PUBLISHED[method, name], rtol=1e-6)


def test_piecewise_linear_constants_are_the_published_ones():
    leaky = theory.dks("leaky_relu", resnet101, zeta=1.2)
    assert math.isclose(find(leaky.base).parameters["negative_slope"], 0.8761257073473065, rel_tol=1e-7)
    assert np.allclose(leaky.constants, (1, 0, -0.049418692997, 1.0651832705682), rtol=1e-7)
    tailored = theory.tat("leaky_relu", resnet101, eta=0.75)
    assert math.isclose(find(tailored.base).parameters["negative_slope"], 0.6291800290346146, rel_tol=1e-8)
    assert math.isclose(tailored.output_scale, 1.196996549778802, rel_tol=1e-8)
    # Their quadrature of ReLU does not cut at the kink.
    assert np.allclose(
        theory.dks("relu", resnet101, zeta=1.2).constants, (0.3685360, 1.0, -1.0003739, 2.7217300), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("depth", "slope", "gain"), [(20, 0.18138, 1.39151), (50, 0.43052, 1.29895), (100, 0.57044, 1.22840)]
)
def test_vanilla_leaky_relu(depth, slope, gain):
    found = theory.tat("relu", depth)
    assert abs(find(found.base).parameters["negative_slope"] - slope) < 6e-6
    assert abs(found.output_scale - gain) < 6e-6
    assert abs(find(theory.tat("relu", depth + 1).base).parameters["negative_slope"] - slope) > 1e-3


@pytest.mark.parametrize(
    "name", ["tanh", "sigmoid", "gelu", "silu", "mish", "elu", "selu", "erf", "softsign", "hardswish"]
)
def test_every_condition_of_dks(name):
    found = theory.dks(name, 30)
    assert set(found.conditions) == {"Q(1)", "Q'(1)", "C(0)", "C'(1)", "network C'(1)"}
    assert max(abs(error) for error in found.residuals.values()) < 1e-8
    assert found.conditions["network C'(1)"][0] == 1.5
    values = found(Z[0])
    assert abs(values.mean()) < 5 / math.sqrt(SAMPLES)
    assert abs((values**2).mean() - 1) < 5 * (values**2).std() / math.sqrt(SAMPLES)
    # E f̂² (z² − 1)/2 = Q′(1): the same road as Stein's lemma, by sampling
    stretch = values**2 * (Z[0] ** 2 - 1) / 2
    assert abs(stretch.mean() - 1) < 5 * stretch.std() / math.sqrt(SAMPLES)
    wrong = Shaped(found.base, found.input_scale, found.input_shift + 0.3, found.output_shift, found.output_scale)
    assert abs(wrong.function(Z[0]).mean()) > 5 / math.sqrt(SAMPLES)


@pytest.mark.parametrize("name", ["tanh", "softplus", "silu"])
def test_every_condition_of_smooth_tat(name):
    found = theory.tat(name, 30)
    assert set(found.conditions) == {"Q(1)", "Q'(1)", "C'(1)", "C''(1)", "network C''(1)"}
    assert max(abs(error) for error in found.residuals.values()) < 1e-8
    assert found.conditions["network C''(1)"][0] == 0.3
    # C near 1, by 2-D quadrature: 1 − h C′ + h² C″/2
    h = 1e-2
    assert abs(found.correlation(1 - h) - (1 - h + h * h * found.conditions["C''(1)"][0] / 2)) < 1e-6


@pytest.mark.parametrize("fn", [torch.nn.Mish(), lambda x: x + np.sin(x) ** 2], ids=["module", "callable"])
def test_callables(fn):
    for found in (theory.dks(fn, 12), theory.tat(fn, 12)):
        assert max(abs(error) for error in found.residuals.values()) < 1e-7
        values = found(Z[0])
        assert abs((values**2).mean() - 1) < 5 * (values**2).std() / math.sqrt(SAMPLES)


def test_a_network_of_them_has_the_slope_asked_for():
    depth, h = 40, 1e-4
    found = theory.dks("tanh", depth, zeta=2.0)

    def through(c):
        for _ in range(depth):
            c = found.correlation(c)
        return c

    assert abs((1 - through(1 - h)) / h - 2.0) < 0.01
    assert abs(through(0.0)) < 1e-9
    gelu = theory.correlation_map("gelu", 0.0, 1.0, theory.gain("gelu") ** 2)
    assert gelu > 0.1  # an unshaped function makes strangers alike in one layer


@pytest.mark.parametrize("slope", [0.0, 0.2, 0.7])
def test_leaky_map_is_the_quadrature_and_the_sample(slope):
    f = find("leaky_relu", negative_slope=slope)
    for c in (-0.6, 0.0, 0.5, 0.99):
        square = (1 + slope**2) / 2
        assert abs(leaky_correlation(c, slope) - theory.correlation_map(f, c, 1.0, 1 / square)) < 1e-9
    u, v = Z[0], 0.5 * Z[0] + math.sqrt(0.75) * Z[1]
    product = f.function(u) * f.function(v) / square
    error = 5 * product.std() / math.sqrt(SAMPLES)
    assert abs(product.mean() - leaky_correlation(0.5, slope)) < error
    assert abs(product.mean() - leaky_correlation(0.5, slope + 0.1)) > error or slope > 0.5


def test_shallow_leaky_networks_are_left_as_they_are():
    found = theory.tat("relu", 2)
    assert find(found.base).parameters["negative_slope"] == 0.0
    assert found.output_scale == math.sqrt(2)
    assert found.residuals["network C(0)"] < -0.1  # below what was allowed


def test_relu_reports_what_it_cannot_meet():
    found = theory.dks("relu", 20)
    assert abs(found.residuals["Q'(1)"]) > 1e-3
    assert max(abs(error) for name, error in found.residuals.items() if name != "Q'(1)") < 1e-8


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: theory.tat("selu", 10), "jumps at 0"),
        (lambda: theory.tat("hardtanh", 10), "infinite"),
        (lambda: theory.dks("swiglu", 10), "one input"),
        (lambda: theory.dks("tanh", 0), "network"),
        (lambda: theory.dks("tanh", lambda x, r: x), "is there an activation"),
        (lambda: theory.dks("tanh", 10, zeta=1.0), "zeta"),
        (lambda: theory.tat("relu", 10, eta=1.0), "eta"),
        (lambda: theory.tat("tanh", 10, tau=0), "tau"),
        (lambda: theory.dks("linear", 10), "no input_scale"),
        (lambda: theory.dks("softplus", 1), "C'(1) = 1.5"),
        (lambda: theory.dks("tanh", 10).correlation(-1.0), "correlation in"),
        (lambda: Shaped("tanh", input_scale=0.0), "input_scale"),
        (lambda: Shaped("swiglu").inner, "one input"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(InputError, match=words.replace("(", r"\(").replace(")", r"\)")):
        call()


def test_a_shaped_op_reads_back_to_its_function():
    found = theory.tat("relu", 50)
    attrs = {"base": found.base, "output_scale": found.output_scale}
    read = of_op("shaped", attrs)
    assert np.array_equal(read.function(Z[0]), found(Z[0]))
    assert abs(theory.gain(read) - 1) < 1e-12
    assert theory.gain("relu") > 1.4
    bent = Shaped("leaky_relu(negative_slope=0.2)", 2.0, 1.0, 0.5, 3.0)
    assert bent.kinks == (-0.5,)
    assert "leaky_relu(negative_slope=0.2)" in str(bent)


def test_the_page_says_what_the_code_does():
    page = Path(__file__).parents[3] / "docs" / "shaped-activations.md"
    text = page.read_text(encoding="utf-8").replace("```", "\n")
    ran = doctest.DocTestRunner().run(doctest.DocTestParser().get_doctest(text, {}, page.name, str(page), 0))
    assert ran.attempted > 8
    assert ran.failed == 0
