"""What siren measures with: fixed points, the distance from a normal law, the picture; wrong starts are found out."""

from __future__ import annotations

import math
from statistics import median

import numpy as np
import pytest
import torch

from fanin.experiments._nets import started
from fanin.experiments.siren import (
    OMEGA,
    Sines,
    default,
    fixed_point,
    from_normal,
    picture,
    plate,
    psnr,
    siren,
)


def test_the_fixed_point_is_the_root_by_bisection() -> None:
    low, high = 0.1, 2.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if 1 - math.exp(-2 * middle) > middle else (low, middle)
    assert fixed_point() == pytest.approx(low, abs=1e-12)
    assert fixed_point() == pytest.approx(0.79681213, abs=1e-8)
    assert fixed_point(1e-9) == pytest.approx(fixed_point(), abs=1e-9)


@pytest.mark.parametrize("bound", [0.5, 1.3, 2.0])
def test_with_biases_it_is_the_root_by_sampling(bound: float) -> None:
    generator = torch.Generator().manual_seed(0)
    n = 1_000_000
    z = torch.randn(n, generator=generator, dtype=torch.float64) * math.sqrt(fixed_point(bound))
    phase = (torch.rand(n, generator=generator, dtype=torch.float64) * 2 - 1) * bound
    values = 2 * torch.sin(z + phase).square()
    error = float(values.std()) / math.sqrt(n)
    assert abs(float(values.mean()) - fixed_point(bound)) < 5 * error
    assert abs(float(values.mean()) - fixed_point()) > 5 * error  # without biases it is another


def test_a_sample_is_near_its_own_normal_law_only() -> None:
    sample = torch.randn(20_000, generator=torch.Generator().manual_seed(1)) * math.sqrt(0.8)
    # Kolmogorov's law: above 1.95/√n once in a thousand seeds.
    assert from_normal(sample, 0.8) < 1.95 / math.sqrt(20_000)
    assert from_normal(sample, 1.0) > 1.95 / math.sqrt(20_000)
    assert from_normal(torch.zeros(10), 1.0) == pytest.approx(0.5)


def _deep_variance(omega: float, kind: str) -> float:
    """Median over five networks of the variance of pre-activations at the sixth layer."""
    found = []
    for seed in range(5):
        model = Sines(128, 6, omega)
        plan = default(model) if kind == "default" else siren(model, kind == "biased")
        started(model, plan, seed)
        x = torch.rand(200, 2, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        found.append(float(model.flow(x)[-1].square().mean()))
    return median(found)


def test_pre_activations_reach_the_fixed_point_and_from_torchs_default_they_do_not() -> None:
    # 128 units move one network's second moment by about 8 %, the median of five by half of that; 4 of these.
    assert _deep_variance(OMEGA, "siren") == pytest.approx(fixed_point(), rel=0.16)
    bound = OMEGA / math.sqrt(128)
    assert _deep_variance(OMEGA, "biased") == pytest.approx(fixed_point(bound) + bound**2 / 3, rel=0.16)
    assert _deep_variance(OMEGA, "default") > 100
    assert _deep_variance(1.0, "default") < 0.05


def test_the_flow_is_what_the_network_computes() -> None:
    model = Sines(7, 3)
    x = torch.rand(4, 2)
    flow = model.flow(x)
    assert len(flow) == 3
    assert torch.allclose(model.head(torch.sin(flow[-1])), model(x), atol=1e-6)


def test_the_picture_is_cut_in_two_parts_that_share_no_pixel() -> None:
    data = picture(16, 3)
    assert len(data.train_x) == 192
    assert len(data.test_x) == 64
    assert not {tuple(p) for p in data.train_x} & {tuple(p) for p in data.test_x}
    whole = plate(16)
    for point, colour in zip(data.test_x, data.test_y):
        column, row = (round(float(c + 1) / 2 * 15) for c in point)
        assert colour[0] == whole[row, column]
    assert not np.array_equal(picture(16, 4).test_x, data.test_x)


def test_psnr_of_a_known_error() -> None:
    assert psnr(4.0) == 0.0
    assert psnr(0.04) == pytest.approx(20.0)
    assert psnr(0.0) == math.inf
