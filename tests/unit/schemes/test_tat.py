"""tat: C(0) of a deep network of leaky ReLUs is what was asked for; smooth functions; mixtures are refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fanin
from fanin import theory
from fanin.errors import PlanError

DEPTH, WIDTH, PAIRS = 50, 256, 64


def plain(activation, depth=DEPTH, width=WIDTH):
    layers = [part for _ in range(depth) for part in (activation(), nn.Linear(width, width))]
    return nn.Sequential(nn.Linear(64, width), *layers)


def batch():
    """Rows without correlation, of unit second moment."""
    drawn = torch.randn(PAIRS, 64, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return (torch.linalg.qr(drawn)[0] * 8).float()


def correlation(model):
    with torch.no_grad():
        y = model(batch())
    rows = nn.functional.normalize(y)
    return float(((rows @ rows.T).sum() - PAIRS) / (PAIRS * (PAIRS - 1)))


def started(eta=0.9, seeds=4, **options):
    model, x = plain(nn.ReLU), batch()
    fanin.rewire_(model, x, scheme="tat", eta=eta)
    found = []
    for seed in range(seeds):
        fanin.init_(model, x, scheme="tat", seed=seed)
        found.append(correlation(model))
    return model, sum(found) / seeds


@pytest.mark.parametrize("eta", [0.9, 0.6])
def test_c_of_zero_is_eta_after_fifty_layers(eta):
    model, found = started(eta)
    # A layer of width n errs by about 1/√n, and depth·(share that is curved) of them add up.
    assert abs(found - eta) < 0.06
    slope = model[1].inner.negative_slope
    assert abs(model[1].output_scale - (2 / (1 + slope**2)) ** 0.5) < 1e-12
    assert [part.inner.negative_slope for part in model[1::2]] == [slope] * DEPTH


def test_plain_relu_makes_strangers_the_same():
    model, x = plain(nn.ReLU), batch()
    fanin.init_(model, x, scheme="he")
    assert correlation(model) > 0.97


def test_smooth_functions_bend_the_correlation_map_little():
    model, x = plain(nn.Softplus), batch()
    fanin.rewire_(model, x, scheme="tat")
    fanin.init_(model, x, scheme="tat")
    shaping, expected = theory.tat("softplus", DEPTH), 0.0
    for _ in range(DEPTH):
        expected = shaping.correlation(expected)
    with torch.no_grad():
        assert abs(float(model(x).square().mean()) - 1) < 0.25
    assert abs(correlation(model) - expected) < 0.05
    assert 0.05 < expected < 0.3


class Residual(nn.Module):
    """One ReLU module for all calls: leaky ReLUs keep every scale, so one pair of constants serves them all."""

    def __init__(self, blocks=8, width=WIDTH):
        super().__init__()
        self.stem, self.act, self.head = nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width)
        self.maps = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))

    def forward(self, x):
        x = self.stem(x)
        for layer in self.maps:
            x = x + layer(self.act(x))
        return self.head(self.act(x))


def test_one_module_called_everywhere():
    model, x = Residual(), batch()
    rewired = fanin.rewire_(model, x, scheme="tat", eta=0.5)
    assert [change.where for change in rewired.changes] == ["act"]
    recipe = fanin.init_(model, x, scheme="tat", eta=0.5)
    assert "inputs of second moment 3" in recipe.line("maps.2.weight").reason
    expected, a = 0.0, model.act.inner.negative_slope
    for index in range(8):
        passed = float(theory._shaping.leaky_correlation(expected, a))
        expected = (expected * (index + 1) + passed) / (index + 2)
    assert abs(float(theory._shaping.leaky_correlation(expected, a)) - 0.5) < 1e-9
    assert abs(correlation(model) - 0.5) < 0.06
    with torch.no_grad():
        assert abs(float(model(x).square().mean()) - 1) < 0.3


def test_mixtures_and_jumps_are_refused():
    mixed = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))
    with pytest.raises(PlanError, match="has both"):
        fanin.rewire_(mixed, batch(), scheme="tat")
    bent = nn.Sequential(nn.Linear(64, 8), nn.SELU(), nn.Linear(8, 8))
    with pytest.raises(PlanError, match="jumps at 0"):
        fanin.rewire_(bent, batch(), scheme="tat")
