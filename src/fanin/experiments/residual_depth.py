"""residual-depth: how the power of a residual stream grows with depth, and how deep each start trains."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fanin.compare import run as run_all
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import normal_inputs, recipe, started
from fanin.experiments._races import rows
from fanin.initializers import HeNormal, Initializer, LecunNormal, VarianceScaling, Zeros
from fanin.report.figures import figure
from fanin.signals import Signal, Signals

if TYPE_CHECKING:
    from fanin.recipe import Recipe
    from fanin.report.figures import Figure

__all__ = ["EXPERIMENT", "Net"]

HE, SCALED, FIXUP, ZERO, NORMED = "He", "ends ×1/√L", "Fixup", "ends 0", "He, BatchNorm"
STARTS = (HE, SCALED, FIXUP, ZERO, NORMED)
KEYS = dict(zip(STARTS, ("he", "scaled", "fixup", "zero", "normed")))

LEARNED = 0.8
"""A median final loss below this share of ln(classes) counts as learning."""


class Block(nn.Module):
    """x + fc2(relu(norm2(fc1(relu(norm1(x)))))), with or without the norms.

    Args:
        width: units.
        norm: with BatchNorm.
    """

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, width), nn.Linear(width, width)
        self.norm1, self.norm2 = (nn.BatchNorm1d(width) if norm else nn.Identity() for _ in range(2))

    def branch(self, x: Tensor) -> Tensor:
        """(batch, width) → (batch, width): what is added to the stream."""
        out: Tensor = self.fc2(torch.relu(self.norm2(self.fc1(torch.relu(self.norm1(x))))))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) → (batch, width)."""
        return x + self.branch(x)


class Net(nn.Module):
    """Pre-activation blocks between two linear maps.

    Args:
        inputs: per sample.
        width: units of every block.
        blocks: number of blocks, each of two layers.
        classes: outputs.
        norm: with BatchNorm in the blocks and before the head.
    """

    def __init__(self, inputs: int, width: int, blocks: int, classes: int, norm: bool = False) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(Block(width, norm) for _ in range(blocks))
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) → (batch, classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(torch.relu(self.norm(x)))
        return out


def start(model: Net, name: str) -> Recipe:
    """He in every layer but the stem (LeCun, no ReLU before it) and what the named start changes."""
    count = len(model.blocks)
    firsts = [f"blocks.{index}.fc1.weight" for index in range(count)]
    ends = [f"blocks.{index}.fc2.weight" for index in range(count)]
    changed: dict[str, Initializer] = {"stem.weight": LecunNormal()}
    if name == SCALED:
        changed |= dict.fromkeys(ends, VarianceScaling(2.0 / count, "fan_in", "normal"))
    if name in (FIXUP, ZERO):
        changed |= dict.fromkeys(ends, Zeros())
    if name == FIXUP:  # two maps a branch: the first by L^(−1/2), the head 0
        changed |= dict.fromkeys(firsts, VarianceScaling(2.0 / count, "fan_in", "normal")) | {"head.weight": Zeros()}
    return recipe(model, HeNormal(), only=changed, name=name)


def forecast(name: str, blocks: int) -> float:
    """Power of the stream after so many blocks, over its power 1 before them.

    A branch of He's weights has the power of what it reads, halved by each ReLU and doubled by each map: that of the
    stream, or 1 behind a norm. Scaled ends multiply it by 1/L, ends of zero by 0.
    """
    return {
        HE: 2.0**blocks,
        SCALED: (1 + 1 / blocks) ** blocks,
        FIXUP: 1.0,
        ZERO: 1.0,
        NORMED: 1.0 + blocks,
    }[name]


def measure(settings: Settings) -> Measured:
    """Power over depth against the forecast, then training at every depth and rate."""
    data, words = images(settings)
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    figures = {"power": _growth(settings, table, numbers)}
    figures |= _training(settings, table, numbers, partial(_race, settings, data), words)
    return Measured(table, numbers, figures, words)


def powers(model: Net, x: Tensor) -> tuple[list[float], list[float]]:
    """Mean square of the stream before the first and after each block, and of each branch."""
    stream, branches = [], []
    with torch.no_grad():
        x = model.stem(x)
        stream.append(float(x.square().mean()))
        for block in model.blocks:
            assert isinstance(block, Block)
            added = block.branch(x)
            x = x + added
            branches.append(float(added.square().mean()))
            stream.append(float(x.square().mean()))
    return stream, branches


def _growth(settings: Settings, table: list[dict[str, Any]], numbers: dict[str, float]) -> Figure:
    """Wide networks of every depth at the start."""
    width, depths = settings.pick(384, 192, 16), settings.pick((4, 16, 64), (4, 16, 64), (2, 4))
    shown: dict[str, Signals] = {}
    for name in (HE, SCALED, ZERO, NORMED):
        off: list[float] = []
        for blocks in depths:
            runs = []
            for seed in settings.seeds(settings.pick(7, 5, 1)):
                model = Net(width, width, blocks, 10, name == NORMED)
                started(model, start(model, name), seed)
                runs.append(powers(model, normal_inputs(settings.pick(256, 128, 16), width, seed)))
            path = [median(values) for values in zip(*(stream for stream, _ in runs))]
            growth, expected = path[-1] / path[0], forecast(name, blocks)
            off.append(abs(math.log2(growth / expected)) / (blocks if name == HE else 1))
            # Share of the stream's standard deviation that the last branch adds: De & Smith's 1/√depth under norms.
            share = median(math.sqrt(added[-1] / stream[-2]) for stream, added in runs)
            numbers[f"{KEYS[name]}_growth_{blocks}"] = growth
            table.append(
                {"part": "growth", "start": name, "blocks": blocks, "growth": growth, "forecast": expected}
                | {"last_branch_over_stream": share}
            )
            if name == NORMED:
                numbers[f"normed_share_{blocks}"] = share * math.sqrt(blocks)
        numbers[f"{KEYS[name]}_off"] = max(off)
        shown[name] = Signals(
            Signal(f"block {block}", block, "forward", "measured", width, 0.0, value)
            for block, value in enumerate(path)
        )
    scaled_shares = [numbers.pop(f"normed_share_{blocks}") for blocks in depths]
    numbers["normed_share_lowest"], numbers["normed_share_highest"] = min(scaled_shares), max(scaled_shares)
    return figure("variance", shown)


def _race(settings: Settings, data: Any, name: str, blocks: int) -> Any:
    """One start at one depth: every rate, every seed."""
    make = partial(Net, data.sample_shape[0], settings.pick(64, 48, 8), blocks, data.classes or 1, norm=name == NORMED)
    return run_all(
        make,
        data,
        {name: start(make(), name)},
        seeds=settings.seeds(settings.pick(3, 2, 1)),
        lrs=settings.pick((0.0001, 0.001, 0.01, 0.1), (0.001, 0.01, 0.1), (0.01,)),
        steps=settings.pick(150, 120, 3),
        test_every=settings.pick(150, 120, 3),
        n_jobs=settings.jobs,
        progress=False,
    )


def _training(
    settings: Settings,
    table: list[dict[str, Any]],
    numbers: dict[str, float],
    race_of: Callable[[str, int], Any],
    words: str,
) -> dict[str, Figure]:
    """Which start learns at which depth, and with which rates."""
    depths = settings.pick((3, 12, 50), (3, 12, 40), (2, 4))
    heat = []
    for name in STARTS:
        for blocks in depths:
            race = race_of(name, blocks)
            table += rows(race, part="training", blocks=blocks)
            level = LEARNED * math.log(race.settings["classes"])
            finals = {lr: median(run.final_loss for run in race.of(name, lr)) for lr in race.lrs}
            usable = [lr for lr, loss in finals.items() if loss < level]
            scores = [run.test_accuracy or 0.0 for run in race.of(name)]
            # No rate of the grid: as if the next lower one were the largest.
            numbers[f"{KEYS[name]}_rate_{_place(depths, blocks)}"] = max(usable, default=race.lrs[0] / 10)
            numbers[f"{KEYS[name]}_accuracy_{_place(depths, blocks)}"] = median(scores)
            if blocks == depths[-1]:
                numbers[f"{KEYS[name]}_worst"], numbers[f"{KEYS[name]}_best"] = min(scores), max(scores)
            gone = all(run.diverged for run in race.of(name))
            heat.append({"depth": 2 * blocks + 2, "scheme": name, "accuracy": None if gone else median(scores)})
    numbers["he_rate_drop"] = numbers["he_rate_shallow"] / numbers["he_rate_deep"]
    numbers["cured_rate_drop"] = max(
        numbers[f"{key}_rate_shallow"] / numbers[f"{key}_rate_deep"] for key in ("scaled", "fixup", "zero")
    )
    cured = [KEYS[name] for name in (SCALED, FIXUP, ZERO)]
    numbers["cured_worst"] = min(numbers[f"{key}_worst"] for key in cured)
    numbers["cured_over_he"] = numbers["cured_worst"] - numbers["he_best"]
    return {"depths": figure("heatmap", heat, source=f"{words}; SGD, each at its own best rate")}


def _place(depths: tuple[int, ...], blocks: int) -> str:
    return "shallow" if blocks == depths[0] else "deep" if blocks == depths[-1] else "middle"


EXPERIMENT = Experiment(
    name="residual-depth",
    question="How does a residual network without norms depend on its depth, and what makes it trainable at any?",
    known="From He's start the stream's power doubles with each block, so that deep networks without norms need tiny "
    "rates or diverge; BatchNorm shrinks a branch to 1/√depth of the stream; ends of branches scaled by 1/√L or "
    "started at zero do the same and train at every depth.",
    source="Zhang, Dauphin & Ma, 2019 (Fixup); De & Smith, 2020 (SkipInit); Bachlechner et al., 2021 (ReZero)",
    claims=(
        Claim(
            "He: L blocks multiply the power by 2^L",
            "he_off",
            high=0.1,
            why="largest |log2(measured/2^L)|/L over depths, medians of networks; 4 blocks of 192 units move by about "
            "√(4 · 10/192)/4/ln 2 = .16 a block in one network, .07 in the median of five",
        ),
        Claim("ends ×1/√L: by (1 + 1/L)^L, at most e", "scaled_off", high=0.3, why="|log2| over depths, as above"),
        Claim("ends 0: by 1, exactly", "zero_off", high=0.0, why="each block starts as the identity"),
        Claim("BatchNorm: by 1 + L", "normed_off", high=0.15, why="|log2| over depths: each branch has power 1"),
        Claim("so the last of L branches is at least 1/√L of the stream,", "normed_share_lowest", 0.9, 1.1, "times √L"),
        Claim("and at most that", "normed_share_highest", 0.9, 1.1, "times √L, over depths"),
        Claim(
            "He: from the shallowest to the deepest network the largest rate that learns falls",
            "he_rate_drop",
            low=99.0,
            why="two decades of the grid or more; none of the grid counts as one decade below it",
        ),
        Claim(
            "with ends ×1/√L, Fixup or ends 0 it falls less",
            "cured_rate_drop",
            high=11.0,
            why="one decade of the grid at most",
        ),
        Claim("each of these learns in the deepest network", "cured_worst", low=0.7, why="test accuracy, worst seed"),
        Claim("and beats He's start there", "cured_over_he", low=0.0, why="worst seed of all three minus He's best"),
    ),
    measure=measure,
)
