"""Known numbers of the entrywise initializers, and the variance of what real layers compute with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fanin import fans
from fanin.initializers import (
    GlorotLogistic,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    LecunNormal,
    LecunUniform,
    LoRAA,
    MuP,
    NguyenWidrow,
    NguyenWidrowBias,
    RandomWalk,
    SirenFirst,
    SirenHidden,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
)
from fanin.initializers._entrywise import truncation
from fanin.keys import Key

SQUARE = fans.linear((64, 64))


@pytest.mark.parametrize(
    ("bound", "factor"), [(1, 0.5395600938), (2, 0.87962566103423978), (3, 0.9865783926), (4, 0.9994645018)]
)
def test_truncation_factors(bound, factor):
    assert truncation(bound) == pytest.approx(factor, abs=5e-11)


@given(st.floats(1e-6, 30))
def test_truncation_factor_agrees_with_scipy(bound):
    if bound > 0.05:  # scipy itself cancels below
        assert truncation(bound) == pytest.approx(stats.truncnorm(-bound, bound).std(), rel=1e-9)
    else:
        assert truncation(bound) == pytest.approx(bound / math.sqrt(3), rel=bound)


def test_truncation_branches_meet():
    assert truncation(1.0) == pytest.approx(truncation(1.0 + 1e-12), rel=1e-11)


def test_truncated_normal_ends_at_the_known_multiple_of_its_std():
    cut = TruncatedNormal(stddev=1.0)
    assert cut.support(SQUARE)[1] == pytest.approx(2.2737, abs=5e-5)
    assert abs(cut.draw(Key(0), (400, 400), SQUARE)).max() == pytest.approx(2.2737, abs=5e-3)


def test_truncated_normal_of_parent_has_the_realised_std_of_keras():
    assert TruncatedNormal.of_parent(0.02).std(SQUARE) == pytest.approx(0.02 * 0.87962566103423978, rel=1e-12)
    assert TruncatedNormal.of_parent(0.02).law(SQUARE).scale == pytest.approx(0.02, rel=1e-12)


@pytest.mark.parametrize(
    ("named", "general"),
    [
        (LecunNormal(), VarianceScaling(1, "fan_in", "normal")),
        (LecunUniform(), VarianceScaling(1, "fan_in", "uniform")),
        (GlorotNormal(), VarianceScaling(1, "fan_avg", "normal")),
        (GlorotNormal(distribution="truncated_normal"), VarianceScaling(1, "average")),
        (GlorotUniform(0.5), VarianceScaling(0.25, "average", "uniform")),
        (GlorotLogistic(), VarianceScaling(16, "fan_avg", "uniform")),
        (HeNormal(), VarianceScaling(2, "fan_in", "untruncated_normal")),
        (HeUniform(1.0, "fan_out"), VarianceScaling(1, "fan_out", "uniform")),
        (HeUniform(math.sqrt(5)), VarianceScaling(1 / 3, "fan_in", "uniform")),
        (LoRAA(), VarianceScaling(1 / 3, "fan_in", "uniform")),
    ],
    ids=repr,
)
def test_named_lines_are_variance_scaling(named, general):
    place, shape = fans.linear((30, 70)), (30, 70)
    law, other = named.law(place), general.law(place)
    assert (law.kind, law.bound) == (other.kind, other.bound)
    assert (law.location, law.scale) == pytest.approx((other.location, other.scale))
    np.testing.assert_allclose(named.draw(Key(1), shape, place), general.draw(Key(1), shape, place), rtol=1e-5)


@pytest.mark.parametrize(
    ("initializer", "theirs"),
    [
        (GlorotUniform(), torch.nn.init.xavier_uniform_),
        (HeUniform(), torch.nn.init.kaiming_uniform_),
        (HeUniform(math.sqrt(5)), lambda w: torch.nn.init.kaiming_uniform_(w, a=math.sqrt(5))),
        (LecunUniform(), lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="linear")),
        (HeUniform(mode="fan_out"), lambda w: torch.nn.init.kaiming_uniform_(w, mode="fan_out")),
    ],
    ids=lambda given: repr(given) if isinstance(given, Initializer) else "torch",
)
def test_bounds_agree_with_torch_where_torch_is_right(initializer, theirs):
    shape = (50, 80)
    theirs_max = theirs(torch.empty(shape)).abs().max().item()
    assert initializer.support(fans.linear(shape))[1] == pytest.approx(theirs_max, rel=5e-3)


def test_depthwise_he_is_not_the_shape_reading():
    place = fans.conv((256, 1, 3, 3), groups=256)
    assert HeNormal(mode="fan_out").std(place) == pytest.approx(0.47140, abs=5e-6)
    assert HeNormal().std(place) == pytest.approx(0.47140, abs=5e-6)


def test_experts_do_not_count_the_other_axis():
    assert HeNormal().std(fans.experts((8, 512, 256), out_axis=2, in_axis=1)) == pytest.approx(math.sqrt(2 / 512))


def test_random_walk_gains():
    assert RandomWalk("relu").std(SQUARE) * 8 == pytest.approx(1.44203, abs=5e-6)
    assert RandomWalk("linear").std(SQUARE) * 8 == pytest.approx(math.exp(1 / 128), rel=1e-12)
    narrow = fans.linear((3, 3))
    assert RandomWalk().std(narrow) * math.sqrt(3) == pytest.approx(math.sqrt(2) * math.exp(1.2 / 3.6), rel=1e-12)


def test_random_walk_stops_the_drift_of_he():
    # For a unit vector x, each row of W gives one entry of Wx ~ N(0, Var W); ReLU passes half of them at random.
    mask = np.random.default_rng(0).random((10_000, 64)) < 0.5

    def drift(initializer):
        logs = np.log(np.linalg.norm(initializer.draw(Key(0, "walk"), mask.shape, SQUARE) * mask, axis=1))
        return float(logs.mean()), float(logs.std()) / math.sqrt(len(logs))

    (walk, error), (he, _) = drift(RandomWalk("relu")), drift(HeNormal())
    assert walk == pytest.approx(-0.0008, abs=4 * error)
    assert he == pytest.approx(-0.0207, abs=4 * error)
    assert he - walk < -8 * error


def test_nguyen_widrow_norms():
    place = fans.linear((20, 3))
    W = NguyenWidrow().draw(Key(0), (20, 3), place)
    np.testing.assert_allclose(np.linalg.norm(W, axis=1), 1.90009, atol=1e-5)
    assert NguyenWidrowBias(20, 3).support(place)[1] == pytest.approx(1.90009, abs=5e-6)


def test_siren_bounds_and_fixed_point():
    assert SirenFirst().support(fans.linear((256, 2)))[1] == pytest.approx(0.5)
    hidden = fans.linear((1024, 1024))
    assert SirenHidden(30.0).support(hidden)[1] == pytest.approx(math.sqrt(6 / 1024) / 30)
    x = np.random.default_rng(0).uniform(-1, 1, (256, 2))
    x = np.sin(30 * x @ SirenFirst().draw(Key(0, "0"), (1024, 2), fans.linear((1024, 2))).T)
    for layer in range(1, 6):
        z = 30 * x @ SirenHidden().draw(Key(0, str(layer)), (1024, 1024), hidden).T
        x = np.sin(z)
    # The root of q = 1 − e^(−2q); at width 1024 the network's own fluctuation is a few percent.
    assert z.var() == pytest.approx(0.79681213, rel=0.06)


def test_mup_scales_with_width():
    base, wide = fans.linear((256, 256)), fans.linear((1024, 1024))
    assert MuP("hidden", 0.02, 256).std(base) == pytest.approx(0.02)
    assert MuP("hidden", 0.02, 256).std(wide) == pytest.approx(0.01)
    assert MuP("output", 0.02, 256).std(wide) == pytest.approx(0.005)


def test_uniform_by_std_and_by_ends():
    assert Uniform(std=0.5).std(SQUARE) == pytest.approx(0.5, rel=1e-12)
    assert Uniform() == Uniform(-0.05, 0.05)


def _variance_of(layer, initializer, place, channels, size):
    weight = initializer.draw(Key(0, "layer"), tuple(layer.weight.shape), place)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight))
        x = torch.randn(4, channels, size, size, generator=torch.Generator().manual_seed(0))
        y = layer(x)
    return y[:, :, 8:-8, 8:-8].pow(2).mean().item()  # away from the borders


LAYERS = {
    "plain": (torch.nn.Conv2d(32, 48, 3, bias=False), {}, 32),
    "grouped": (torch.nn.Conv2d(32, 48, 3, groups=8, bias=False), {"groups": 8}, 32),
    "depthwise": (torch.nn.Conv2d(256, 256, 3, groups=256, bias=False), {"groups": 256}, 256),
    "transposed": (torch.nn.ConvTranspose2d(32, 48, 3, bias=False), {}, 32),
    "strided": (torch.nn.ConvTranspose2d(32, 48, 4, stride=2, bias=False), {"stride": (2, 2)}, 32),
    "grouped transposed": (torch.nn.ConvTranspose2d(32, 16, 3, groups=4, bias=False), {"groups": 4}, 32),
}


@pytest.mark.parametrize("name", LAYERS)
def test_lecun_keeps_the_second_moment_of_a_convolution(name):
    layer, settings, channels = LAYERS[name]
    make = fans.conv_transpose if isinstance(layer, torch.nn.ConvTranspose2d) else fans.conv
    place = make(tuple(layer.weight.shape), **settings)
    # The weights' own fluctuation dominates: relative error of E y² about √(2/number of weights) times a few.
    tolerance = 4 * math.sqrt(2 / layer.weight.numel()) + 0.03
    assert _variance_of(layer, LecunNormal(), place, channels, 40) == pytest.approx(1.0, rel=tolerance)
    if not math.isclose(place.fan_in, place.fan_out, rel_tol=0.2):
        wrong = VarianceScaling(1.0, "fan_out", "normal")
        assert _variance_of(layer, wrong, place, channels, 40) != pytest.approx(1.0, rel=tolerance)
