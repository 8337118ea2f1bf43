"""Small models that unsupervised pre-training is shown to fit."""

from __future__ import annotations

import torch
from torch import nn

from fanin.schemes._examples import batch

__all__ = ["logistic", "pooled"]


def logistic() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Sigmoid and tanh layers over inputs in [0, 1]."""
    net = nn.Sequential(nn.Linear(12, 9), nn.Sigmoid(), nn.Linear(9, 7), nn.Tanh(), nn.Linear(7, 3))
    return net, torch.sigmoid(3 * batch(20, 12)), torch.arange(20) % 3


def pooled() -> tuple[nn.Module, torch.Tensor, torch.Tensor]:
    """Convolutions with pooling, dropout and a linear layer, all of different nonlinearities."""
    conv = [nn.Conv2d(2, 4, 3, padding=1), nn.GELU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, stride=2, padding=1)]
    rest = [nn.Tanh(), nn.Flatten(), nn.Dropout(0.5), nn.Linear(24, 8), nn.PReLU(), nn.Linear(8, 3)]
    return nn.Sequential(*conv, *rest), batch(15, 2, 8, 8), torch.arange(15) % 3
