"""Networks of sines that fit a picture: colour as a function of two coordinates, every pixel in every update.

The picture is computed: a zone plate, whose stripes narrow towards the rim, on one half, and letters on the
other. ``psnr`` tells the score, a mean squared error of pixels in [−1, 1], as a ratio.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from benchmarks.training._table import Row, Settings
from torch import nn

from fanin.data import Dataset

SIDE = 64
WIDTH = 64
OMEGA = 30.0
STEPS = 180
LRS = (1e-4, 3e-4, 1e-3, 3e-3)
"""Sitzmann et al. fit images with Adam at 1e-4 and 15,000 updates; far fewer updates ask for larger ones."""

DEPTHS = (3, 5)
STARTS = ("siren", "torch", "glorot", "he", "lecun", "auto")

_GLYPHS = {
    "F": ("11111", "10000", "10000", "11110", "10000", "10000", "10000"),
    "A": ("01110", "10001", "10001", "11111", "10001", "10001", "10001"),
    "N": ("10001", "11001", "10101", "10101", "10011", "10001", "10001"),
    "I": ("01110", "00100", "00100", "00100", "00100", "00100", "01110"),
}


class Sine(nn.Module):
    """sin(ω₀ x).

    Args:
        omega: ω₀.
    """

    def __init__(self, omega: float) -> None:
        super().__init__()
        self.omega = omega

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Elementwise."""
        return torch.sin(self.omega * x)


def network(depth: int, omega: float = OMEGA) -> nn.Module:
    """``depth`` layers of sines over two coordinates, then a linear map to one value."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layers += [nn.Linear(WIDTH if index else 2, WIDTH), Sine(omega)]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 1))


@cache
def picture(side: int = SIDE) -> np.ndarray:
    """(side, side) pixels in [−1, 1]: a zone plate on the left, four rows of letters on the right."""
    y, x = np.mgrid[0:side, 0:side] / side
    # The phase turns by π·r a pixel at radius r (in sides): stripes repeat every 4 pixels at r = 1/2.
    plate = np.cos(0.5 * math.pi * side * ((x - 0.5) ** 2 + (y - 0.5) ** 2))
    letters = np.full((side, side), -1.0)
    size = max(1, side // 64)
    for row in range(side // (9 * size)):
        for place, letter in enumerate("FANIN"):
            glyph = np.kron([[int(bit) for bit in line] for line in _GLYPHS[letter]], np.ones((size, size)))
            top, left = (1 + 9 * row) * size, side // 2 + (1 + 6 * place) * size
            if left + glyph.shape[1] <= side and top + glyph.shape[0] <= side:
                letters[top : top + glyph.shape[0], left : left + glyph.shape[1]] = 2 * glyph - 1
    return np.where(x < 0.5, plate, letters).astype(np.float32)


@cache
def pixels(side: int = SIDE) -> Dataset:
    """Coordinates in [−1, 1]² and the colour at each; the test part is the whole picture, as it is fitted."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x = np.stack(np.meshgrid(axis, axis, indexing="xy"), axis=-1).reshape(-1, 2)
    y = picture(side).reshape(-1, 1)
    words = f"a computed picture of {side} × {side} pixels: a zone plate and letters"
    return Dataset(name="picture", train_x=x, train_y=y, test_x=x, test_y=y, classes=None, source=words)


def psnr(error: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of pixels in [−1, 1]."""
    return 10 * math.log10(4 / error) if error > 0 else math.inf


def rows(settings: Settings) -> list[Row]:
    """One row per depth."""
    starts: dict[str, Any] = {name: name for name in STARTS}
    make: dict[int, Callable[[], nn.Module]] = {depth: partial(network, depth) for depth in DEPTHS}
    return [
        Row(
            table="siren",
            name=f"{depth} layers of sin({OMEGA:g}·)",
            make=make[depth],
            data=pixels(),
            starts=starts,
            optimizer="adam",
            lrs=LRS,
            steps=STEPS // (4 if settings.quick else 1),
            batch_size=SIDE * SIDE,
            score="test_loss",
            labels={"depth": depth, "omega": OMEGA, "width": WIDTH},
        )
        for depth in DEPTHS
    ]
