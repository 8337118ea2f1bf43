"""residual: what He's start does in residual blocks, and what scaling their ends does about it."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fanin import compare
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import factor, normal_inputs, recipe, started
from fanin.experiments._races import accuracies, curves, margin, retitled, rows
from fanin.initializers import HeNormal, Initializer, VarianceScaling, Zeros
from fanin.recipe import Recipe
from fanin.report.figures import figure
from fanin.signals import Signal, Signals

if TYPE_CHECKING:
    from fanin.compare import Race
    from fanin.report.figures import Figure

__all__ = ["EXPERIMENT", "Net"]


class Block(nn.Module):
    """x + fc2(relu(fc1(relu(x)))), or without the x.

    Args:
        width: units.
        skip: add x.
    """

    def __init__(self, width: int, skip: bool) -> None:
        super().__init__()
        self.fc1, self.fc2, self.skip = nn.Linear(width, width), nn.Linear(width, width), skip

    def forward(self, x: Tensor) -> Tensor:
        """(batch, width) → (batch, width)."""
        branch: Tensor = self.fc2(torch.relu(self.fc1(torch.relu(x))))
        return x + branch if self.skip else branch


class Net(nn.Module):
    """Pre-activation blocks between two linear maps.

    Args:
        inputs: per sample.
        width: units of every block.
        blocks: number of blocks, each of two layers.
        classes: outputs.
        skip: residual; else the same layers as a plain chain.
    """

    def __init__(self, inputs: int, width: int, blocks: int, classes: int, skip: bool = True) -> None:
        super().__init__()
        self.stem = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(Block(width, skip) for _ in range(blocks))
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, inputs) → (batch, classes)."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.head(torch.relu(x))
        return out


def starts(model: Net) -> dict[str, Recipe]:
    """He everywhere; He with the ends of branches scaled by 1/√L; He with those ends at zero."""
    count = len(model.blocks)
    ends = [f"blocks.{index}.fc2.weight" for index in range(count)]
    laws: dict[str, Initializer | None] = {
        "He": None,
        "He, ends ×1/√L": VarianceScaling(2.0 / count, "fan_in", "normal"),
        "He, ends 0": Zeros(),
    }
    return {
        name: recipe(model, HeNormal(), only={} if law is None else dict.fromkeys(ends, law), name=name)
        for name, law in laws.items()
    }


def powers(model: Net, x: Tensor) -> list[float]:
    """Mean square of the trunk before the first and after each block."""
    with torch.no_grad():
        x = model.stem(x)
        found = [float(x.square().mean())]
        for block in model.blocks:
            x = block(x)
            found.append(float(x.square().mean()))
    return found


def measure(settings: Settings) -> Measured:
    """The trunk's power at the start, then training deep networks with and without skips."""
    data, words = images(settings)
    table: list[dict[str, Any]] = []
    numbers: dict[str, float] = {}
    figures = {"variance": _flow(settings, table, numbers)}
    inputs, classes, width = data.sample_shape[0], data.classes or 1, settings.pick(64, 64, 8)
    blocks, steps = settings.pick(40, 20, 3), settings.pick(300, 200, 3)
    chain, residual = partial(Net, inputs, width, blocks, classes, False), partial(Net, inputs, width, blocks, classes)
    races = {}
    for label, make in (("plain", chain), ("residual", residual)):
        plans = starts(make())
        race = compare(
            make,
            data,
            {"He": plans["He"]} if label == "plain" else plans,
            seeds=settings.seeds(settings.pick(3, 2, 1)),
            lrs=settings.pick((0.001, 0.01, 0.1), (0.001, 0.03), (0.01,)),
            steps=steps,
            tuning_seeds=1,
            test_every=steps,
            n_jobs=settings.jobs,
            progress=False,
        )
        races[label] = race
        table += rows(race, part="training", net=label)
    scores = {name: accuracies(races["residual"], name) for name in races["residual"].schemes}
    plain = accuracies(races["plain"], "He")
    for key, values in {"plain": plain, **dict(zip(("he", "scaled", "zero"), scores.values()))}.items():
        numbers[f"{key}_accuracy"] = median(values)
    first = [run.curve.losses[0] for run in races["residual"].of("He") if run.curve.losses]
    numbers["he_first_loss"] = median(first)
    numbers["zero_over_plain"] = margin(scores["He, ends 0"], plain)
    numbers["zero_over_he"] = margin(scores["He, ends 0"], scores["He"])
    numbers["scaled_over_he"] = margin(scores["He, ends ×1/√L"], scores["He"])
    figures["training"] = _training(races, numbers, f"{2 * blocks} layers, {words}")
    return Measured(table, numbers, figures, words)


def _training(races: dict[str, Race], numbers: dict[str, float], source: str) -> Figure:
    """Curves of the starts that trained; where every run diverged, a start is named instead of stretching the axis."""
    runs = {f"plain, {name}": races["plain"].of(name) for name in races["plain"].schemes}
    runs |= {f"residual, {name}": races["residual"].of(name) for name in races["residual"].schemes}
    gone = [name for name, members in runs.items() if all(run.diverged for run in members)]
    shown = curves({name: members for name, members in runs.items() if name not in gone})
    if not shown:
        shown = curves(runs)
    title = "Test accuracy: {plain_accuracy:.0%} plain, {zero_accuracy:.0%} residual with ends 0".format(**numbers)
    title += f"; {', '.join(gone)} diverged" if gone else ""
    return retitled(figure("race", shown, source=f"{source}; SGD, each at its own best rate, band: all seeds"), title)


def _flow(settings: Settings, table: list[dict[str, Any]], numbers: dict[str, float]) -> Any:
    """12 blocks of wide layers: power after each block, for each start."""
    width, blocks = settings.pick(512, 256, 16), 12
    shown = {}
    for name, plan in starts(Net(width, width, blocks, 10)).items():
        runs = []
        for seed in settings.seeds(settings.pick(5, 3, 1)):
            model = Net(width, width, blocks, 10)
            started(model, plan, seed)
            runs.append(powers(model, normal_inputs(settings.pick(200, 100, 10), width, seed)))
        path = [median(values) for values in zip(*runs)]
        key = {"He": "he", "He, ends ×1/√L": "scaled", "He, ends 0": "zero"}[name]
        factors = [after / before for before, after in pairwise(path)]
        numbers[f"{key}_lowest_factor"], numbers[f"{key}_highest_factor"] = min(factors), max(factors)
        numbers[f"{key}_total"], numbers[f"{key}_factor"] = path[-1] / path[0], factor(path)
        table += [{"part": "flow", "start": name, "block": block, "power": value} for block, value in enumerate(path)]
        shown[name] = Signals(
            Signal(f"block {block}", block, "forward", "measured", width, 0.0, value)
            for block, value in enumerate(path)
        )
    return figure("variance", shown)


EXPERIMENT = Experiment(
    name="residual",
    question="What does He's start do in residual blocks, and what cures it?",
    known="A block of He's weights doubles the power of the trunk, 2^L in all; branch ends scaled by 1/√L or started "
    "at zero keep it, and deep residual networks without normalization then train.",
    source="He et al., 2016; Zhang, Dauphin & Ma, 2019 (Fixup); De & Smith, 2020 (SkipInit)",
    claims=(
        Claim(
            "He: a block doubles the power of the trunk",
            "he_factor",
            1.85,
            2.15,
            "2; geometric mean over 12 blocks, each of which 512 units move by about 16 %, median of five networks",
        ),
        Claim("ends ×1/√L: all blocks together multiply it by (1 + 1/L)^L", "scaled_total", 2.3, 2.95, "2.61 for 12"),
        Claim("ends 0: it stays exactly", "zero_total", 1.0, 1.0, "each block starts as the identity"),
        Claim("ends 0: the deep residual net learns", "zero_accuracy", low=0.8, why="median test accuracy"),
        Claim(
            "it beats the plain chain of the same layers with every seed", "zero_over_plain", low=0.0, why="accuracy"
        ),
        Claim("it beats He in the same net with every seed", "zero_over_he", low=0.0, why="each at its own best rate"),
        Claim("so do ends ×1/√L", "scaled_over_he", low=0.0, why="each at its own best rate"),
    ),
    measure=measure,
)
