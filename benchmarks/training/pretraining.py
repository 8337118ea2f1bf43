"""Greedy pre-training without labels against random starts: a deep sigmoid perceptron with 1,000 labels.

Pre-training sees 10,000 images without labels, the 1,000 with labels among them; random starts have no use for them.
So the pre-trained starts are shown beside the others, but not ranked with them: they had more data. What they are to
beat is the small Gaussian, by the criterion of :func:`beaten`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import torch
from benchmarks.training._table import Row, Settings, interval
from torch import nn

from fanin.data import Dataset, load
from fanin.materialize import write
from fanin.recipe import Recipe
from fanin.schemes import REGISTRY, plan
from fanin.slots import find
from fanin.trace import trace

DATA = ("mnist", "fashion-mnist")
LABELS, TEST = 1000, 2000
UNLABELED, EPOCHS = 10_000, 10
WIDTH = 100
DEPTHS = (3, 5)
"""Hidden layers: Erhan et al. (2010) compare 1 to 5."""

LRS = (0.03, 0.1, 0.3, 1.0)
STEPS = 1000
GREEDY = ("rbm", "autoencoder")
SMALL = {"normal 0.01": {"scheme": "normal", "std": 0.01}, "normal 0.1": {"scheme": "normal", "std": 0.1}}
OTHERS = ("torch", "glorot", "glorot4", "lecun", "orthogonal", "lsuv", "auto")


@cache
def images(name: str) -> Dataset:
    """The first 10,000 and 2,000 images, as rows of standardized pixels."""
    return load(name).take(UNLABELED, TEST).flat()


def network(depth: int) -> nn.Module:
    """``depth`` hidden layers of sigmoid units and a linear head."""
    sizes = [784, *[WIDTH] * depth]
    hidden = [part for a, b in itertools.pairwise(sizes) for part in (nn.Linear(a, b), nn.Sigmoid())]
    return nn.Sequential(*hidden, nn.Linear(WIDTH, 10))


@dataclass
class Pretrained:
    """A start that is found once for each seed and then written wherever a run begins.

    A race plans each start anew for every run; pre-training is too dear for that.
    """

    scheme: str
    data: str
    depth: int
    epochs: int
    found: dict[int, Recipe] = field(default_factory=dict)

    def __call__(self, model: nn.Module) -> None:
        seed = torch.initial_seed()  # the seed of the run, which the race has set
        if seed not in self.found:
            unlabeled = images(self.data)
            batch = unlabeled.batch(256).inputs
            graph = trace(model, batch, statistics=False).graph
            scheme: Any = REGISTRY[self.scheme](data=unlabeled, epochs=self.epochs, progress=False)
            self.found[seed] = plan(scheme, find(model, graph), graph, model=model, inputs=batch, seed=seed)
        write(model, self.found[seed], seed)


def rows(settings: Settings) -> list[Row]:
    """One row per depth."""
    found = []
    for depth in DEPTHS:
        starts: dict[str, Any] = {
            name: Pretrained(name, settings.data, depth, 2 if settings.quick else EPOCHS) for name in GREEDY
        }
        starts |= SMALL | {name: name for name in OTHERS}
        found.append(
            Row(
                table="pretraining",
                name=f"sigmoid {depth}, {LABELS:,} labels",
                make=partial(network, depth),
                data=images(settings.data).take(LABELS),
                starts=starts,
                optimizer="momentum",
                lrs=LRS,
                steps=STEPS // (4 if settings.quick else 1),
                batch_size=50,
                references=GREEDY,
                labels={"depth": depth, "activation": "sigmoid", "labels": LABELS, "unlabeled": UNLABELED},
            )
        )
    return found


def beaten(row: Mapping[str, Any]) -> dict[str, str]:
    """Pre-trained start → how it stands against the better one of both small Gaussians.

    Args:
        row: as from ``measure``.

    Returns:
        "clearly" where its interval lies above both of theirs, "by the median" where only its median lies above both
        of theirs, else "no".
    """
    small = [interval(row["starts"][name]) for name in SMALL]

    def judged(name: str) -> str:
        mine = interval(row["starts"][name])
        if mine.low > max(other.high for other in small):
            return "clearly"
        return "by the median" if mine.median > max(other.median for other in small) else "no"

    return {name: judged(name) for name in GREEDY}
