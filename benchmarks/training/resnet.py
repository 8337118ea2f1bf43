"""Residual networks of depth 20, 56 and 110 without normalization, beside their twins with BatchNorm.

The networks are those of He et al. (2016) for small images: 6n + 2 layers in three stages of basic blocks with 8, 16
and 32 channels, shortcuts without parameters, pre-activation blocks (``first="post"`` makes the older form).
Images are average-pooled to 14 × 14 and the first convolution has a stride of 2, so that minutes are enough on one
core; Adam, for one or two epochs are too short for plain SGD without norms, whatever the start.

A twin is a reference: it is not ranked. Where a method adds scalars to the network, its starts have a model with them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from benchmarks.training._table import Row, Settings
from torch import Tensor, nn
from torch.nn import functional

from fanin.data import Dataset, load

DATA = ("mnist", "fashion-mnist")
CHANNELS = 8
TRAIN, TEST = 20_000, 2_000
STEPS = {20: 250, 56: 160, 110: 130}
"""Depth → updates of 64 samples: what a minute for each start allows."""

LRS = (3e-4, 1e-3, 3e-3)
TWIN = "BatchNorm"
POINTS = 0.02
"""What a network without norms may be behind its twin, in test accuracy."""

KINDS = {"fixup": "fixup", "skipinit": "scaled", TWIN: "norm"}
"""Start → its kind of network; "plain" for all others."""


class Shift(nn.Module):
    """x + b with one learned scalar, Fixup's bias."""

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return x + self.bias


class Multiplier(nn.Module):
    """a·x with one learned scalar, at the end of a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """Elementwise."""
        return self.scale * x


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut without parameters: every second pixel, new channels filled with 0.

    Args:
        channels: of the input.
        out: channels of the output.
        stride: of the first convolution.
        kind: "plain", "scaled" (a multiplier ends the branch), "fixup" (also scalar biases) or "norm" (BatchNorm).
        first: "pre" for activations before the convolutions, "post" for after them and after the sum.
    """

    def __init__(self, channels: int, out: int, stride: int, kind: str, first: str) -> None:
        super().__init__()
        bias = kind in ("plain", "scaled")
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=bias)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=bias)
        self.stride, self.widen, self.pre = stride, out - channels, first == "pre"
        self.norm1, self.norm2 = nn.Identity(), nn.Identity()
        if kind == "norm":
            self.norm1, self.norm2 = nn.BatchNorm2d(channels if self.pre else out), nn.BatchNorm2d(out)
        shifts = [Shift() if kind == "fixup" else nn.Identity() for _ in range(4)]
        self.shift1, self.shift2, self.shift3, self.shift4 = shifts
        self.end = Multiplier() if kind in ("fixup", "scaled") else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, h, w) → (batch, out, h / stride, w / stride)."""
        if self.pre:
            branch = self.conv1(self.shift2(torch.relu(self.norm1(self.shift1(x)))))
            branch = self.end(self.conv2(self.shift4(torch.relu(self.norm2(self.shift3(branch))))))
        else:
            branch = torch.relu(self.shift2(self.norm1(self.conv1(self.shift1(x)))))
            branch = self.shift4(self.end(self.norm2(self.conv2(self.shift3(branch)))))
        if self.stride > 1 or self.widen:
            x = functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.widen))
        out: Tensor = x + branch
        return out if self.pre else torch.relu(out)


class ResNet(nn.Module):
    """6n + 2 layers: a convolution, three stages of n blocks, global average pooling, a linear map.

    Args:
        depth: 6n + 2.
        kind: of its blocks.
        first: "pre" or "post" activation.
        classes: outputs.
    """

    def __init__(self, depth: int, kind: str = "plain", first: str = "pre", classes: int = 10) -> None:
        super().__init__()
        count, rest = divmod(depth - 2, 6)
        if rest or count < 1:
            raise ValueError(f"depth: {depth}; expected 6n + 2")
        self.conv = nn.Conv2d(1, CHANNELS, 3, 2, 1, bias=kind != "norm")
        self.pre, self.norm = first == "pre", nn.Identity()
        blocks, channels = [], CHANNELS
        for stage in range(3):
            for index in range(count):
                out = CHANNELS * 2**stage
                blocks.append(Block(channels, out, 2 if stage and not index else 1, kind, first))
                channels = out
        if kind == "norm":
            self.norm = nn.BatchNorm2d(channels if self.pre else CHANNELS)
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, 1, h, w) → (batch, classes)."""
        if self.pre:
            x = torch.relu(self.norm(self.blocks(self.conv(x))))
        else:
            x = self.blocks(torch.relu(self.norm(self.conv(x))))
        out: Tensor = self.head(x.mean((2, 3)))
        return out


@cache
def images(name: str) -> Dataset:
    """The first 20,000 and 2,000 images as (1, 14, 14), average-pooled and standardized again."""
    whole = load(name).take(TRAIN, TEST)

    def pooled(x: np.ndarray) -> np.ndarray:
        small: np.ndarray = x.reshape(len(x), 1, 14, 2, 14, 2).mean((3, 5)).astype(np.float32)
        return small

    train, test = pooled(whole.train_x), pooled(whole.test_x)
    mean, std = train.mean(), train.std()
    words = f"{name}: the first {TRAIN:,} training and {TEST:,} test images, average-pooled to 14 × 14"
    return replace(whole, train_x=(train - mean) / std, test_x=(test - mean) / std, source=words)


def usual(model: nn.Module) -> None:
    """He by fan_out for convolutions, as in torchvision's residual networks; head and norms as torch makes them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


STARTS: dict[str, Any] = {
    "torch": "torch",
    "he": "he",
    "lsuv": "lsuv",
    "fixup": "fixup",
    "skipinit": "skipinit",
    "ends 0": {"scheme": "auto", "residual": "zero"},
    "auto": "auto",
    TWIN: usual,
}


FEWER = {56: ("torch", "he", "ends 0", "auto", TWIN), 110: ("torch", "ends 0", "auto", TWIN)}


def behind(row: Mapping[str, Any], start: str = "auto") -> float:
    """How far a start's median test accuracy is below that of the twin with BatchNorm; negative where it is above.

    Args:
        row: a measured row of this table.
        start: of the network without norms.
    """
    return float(row["starts"][TWIN]["median"] - row["starts"][start]["median"])


def rows(settings: Settings) -> list[Row]:
    """Depths 20, 56 and 110 of pre-activation blocks; the deeper, the fewer starts, for what a step costs."""
    found = []
    for depth, first in ((20, "pre"), (56, "pre"), (110, "pre")):
        starts = {name: STARTS[name] for name in FEWER.get(depth, tuple(STARTS))}
        make = {kind: partial(ResNet, depth, kind, first) for kind in ("plain", "scaled", "fixup", "norm")}
        found.append(
            Row(
                table="resnet",
                name=f"ResNet-{depth}, {first}-activation",
                make={name: make[KINDS.get(name, "plain")] for name in starts},
                data=images(settings.data),
                starts=starts,
                optimizer="adam",
                lrs=LRS,
                steps=STEPS[depth] // (4 if settings.quick else 1),
                batch_size=64,
                references=(TWIN,),
                labels={"depth": depth, "blocks": first},
            )
        )
    return found
