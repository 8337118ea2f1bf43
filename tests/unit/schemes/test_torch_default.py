"""The scheme "torch" draws what torch's own constructors draw: same bound, same standard deviation."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from fanin.fans import Fans
from fanin.schemes import plan
from fanin.slots import find

MODULES = {
    "linear": lambda: nn.Linear(60, 50),
    "conv": lambda: nn.Conv2d(8, 12, 3, groups=2),
    "transposed": lambda: nn.ConvTranspose2d(12, 16, 3, stride=2, groups=2),
    "bilinear": lambda: nn.Bilinear(9, 12, 20),
    "embedding": lambda: nn.Embedding(50, 20),
    "attention": lambda: nn.MultiheadAttention(24, 2, add_bias_kv=True),
    "attention, separate": lambda: nn.MultiheadAttention(24, 2, kdim=20, vdim=30),
    "lstm": lambda: nn.LSTM(20, 24, bidirectional=True, proj_size=10),
    "gru cell": lambda: nn.GRUCell(20, 24),
    "batch norm": lambda: nn.BatchNorm1d(30),
    "layer norm": lambda: nn.LayerNorm(30),
    "rms norm": lambda: nn.RMSNorm(30),
    "prelu": lambda: nn.PReLU(4, init=0.1),
}
DRAWS = 30


@pytest.mark.parametrize("name", MODULES)
def test_same_law_as_the_constructor(name):
    torch.manual_seed(0)
    modules = [MODULES[name]() for _ in range(DRAWS)]
    recipe = plan("torch", find(modules[0]))
    assert not recipe.kept
    for line in recipe.lines:
        values = torch.stack([dict(module.named_parameters())[line.name].detach() for module in modules])
        low, high = line.initializer.support(line.fans, line.shape)
        spread = line.std
        if math.isfinite(high) and spread:
            assert values.max().item() <= high * (1 + 1e-6)
            # n uniform draws leave a gap above their maximum of more than 12/n with probability e^-6
            assert values.max().item() > high - (high - low) * 12 / values.numel()
            assert values.min().item() >= low * (1 + 1e-6)
        assert values.std().item() == pytest.approx(spread, rel=5 / math.sqrt(values.numel()), abs=1e-12)
        mean = line.initializer.mean(line.fans, line.shape)
        assert values.mean().item() == pytest.approx(mean, abs=5 * spread / math.sqrt(values.numel()) + 1e-7)


def test_a_fan_of_use_would_not_be_torchs():
    slot = find(nn.ConvTranspose2d(64, 16, 3))["weight"]
    line = plan("torch", find(nn.ConvTranspose2d(64, 16, 3))).line("weight")
    assert isinstance(slot.fans, Fans)
    assert line.std != pytest.approx(math.sqrt(1 / 3 / slot.fans.fan_in), rel=0.5)
    assert line.std == pytest.approx(math.sqrt(1 / 3 / (16 * 9)))
