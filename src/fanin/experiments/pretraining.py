"""pretraining: a deep sigmoid network with few labels, from random weights and from pre-training without labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from statistics import median, stdev
from typing import TYPE_CHECKING, Any

import torch

from fanin import compare
from fanin.experiments._base import Claim, Experiment, Measured, Settings
from fanin.experiments._images import images
from fanin.experiments._nets import mlp, recipe
from fanin.experiments._races import accuracies, losses, margin, picture, rows
from fanin.initializers import Initializer, Normal, VarianceScaling
from fanin.materialize import write
from fanin.schemes import REGISTRY, plan
from fanin.slots import find
from fanin.trace import trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import nn

    from fanin.data import Dataset
    from fanin.recipe import Recipe

__all__ = ["EXPERIMENT"]

RANDOM: dict[str, Initializer] = {
    "N(0, 0.01)": Normal(std=0.01),
    "N(0, 0.1)": Normal(std=0.1),
    "U(±1/√n)": VarianceScaling(1 / 3, "fan_in", "uniform"),
}
"""Random starts; the last is that of Erhan et al. (2010, §6.1)."""

GREEDY = {"machines": "rbm", "autoencoders": "autoencoder"}
DEPTH, WIDTH = 4, 100
"""Hidden layers and their units: of the depths 1 to 5 that Erhan et al. compare."""

LABELS, UNLABELED = 1000, 6000
RATES = (0.03, 0.1, 0.3, 1.0)


@dataclass(frozen=True)
class Started:
    """A start that was found before the race, one for each seed."""

    recipes: Mapping[int, Recipe]

    def __call__(self, model: nn.Module) -> None:
        """Write the one of the seed that the race has set."""
        seed = torch.initial_seed()
        write(model, self.recipes[seed], seed)


def pretrained(
    name: str, make: Callable[[], nn.Module], batch: torch.Tensor, unlabeled: Any, seeds: Sequence[int], epochs: int
) -> tuple[Started, list[float]]:
    """The starts of a scheme, and reconstruction error after over before of every layer and seed."""
    found: dict[int, Recipe] = {}
    shares = []
    for seed in seeds:
        scheme: Any = REGISTRY[name](data=unlabeled, epochs=epochs, progress=False)  # type: ignore[call-arg]
        model = make()
        graph = trace(model, batch, statistics=False).graph
        found[seed] = plan(scheme, find(model, graph), graph, model=model, inputs=batch, seed=seed)
        shares += [after / before for before, after in scheme.errors.values()]
    return Started(found), shares


def measure(settings: Settings) -> Measured:
    """Pre-train on images without labels, then train every start on the few that have one."""
    unlabeled, words = images(settings, train=settings.pick(UNLABELED, 4000, 60), test=settings.pick(2000, 1000, 40))
    data: Dataset = unlabeled.take(settings.pick(LABELS, 500, 40))
    width, depth = settings.pick(WIDTH, WIDTH, 8), settings.pick(DEPTH, DEPTH, 2)
    make = partial(mlp, [data.sample_shape[0], *[width] * depth, data.classes or 1], "sigmoid")
    starts: dict[str, Any] = {name: recipe(make(), law, name=name) for name, law in RANDOM.items()}
    seeds, steps = settings.seeds(settings.pick(5, 3, 2)), settings.pick(1000, 500, 4)
    batch, numbers, shares = data.batch(256).inputs, {}, []
    for label, name in GREEDY.items():
        epochs = settings.pick(10, 10, 1)
        starts[label], left = pretrained(name, make, batch, unlabeled.train_x, seeds, epochs)
        shares += left
    numbers["error_left"] = max(shares)
    race = compare(
        make,
        data,
        starts,
        seeds=seeds,
        lrs=settings.pick(RATES, RATES[1:3], RATES[:1]),
        optimizer="momentum",
        steps=steps,
        batch_size=50,
        tuning_seeds=1,
        test_every=max(1, steps // 10),
        n_jobs=settings.jobs,
        progress=False,
    )
    reached = {name: accuracies(race, name) for name in starts}
    best = [max(run) for run in zip(*(reached[name] for name in RANDOM))]
    for label, key in (("machines", "rbm"), ("autoencoders", "autoencoder")):
        numbers[f"{key}_accuracy"], numbers[f"{key}_loss"] = median(reached[label]), median(losses(race, label))
        numbers[f"{key}_over_small"] = margin(reached[label], reached["N(0, 0.01)"])
        numbers[f"{key}_over_best"] = margin(reached[label], best)
        numbers[f"{key}_spread"] = stdev(reached[label])
    for name, key in zip(RANDOM, ("small", "large", "uniform")):
        numbers[f"{key}_accuracy"], numbers[f"{key}_spread"] = median(reached[name]), stdev(reached[name])
    # A start that learns nothing does not vary: the spread to compare with is that of one that learns.
    random = max(numbers[f"{key}_spread"] for key in ("small", "large", "uniform"))
    numbers["spread_left"] = max(numbers["rbm_spread"], numbers["autoencoder_spread"]) / max(random, 1e-9)
    words = f"{words}; {len(data.train_x):,} of the training images with labels"
    figures = {
        "test-accuracy": picture(race, "test accuracy", source=words),
        "training": picture(race, source=words),
    }
    return Measured(rows(race), numbers, figures, words)


EXPERIMENT = Experiment(
    name="pretraining",
    question="What does greedy pre-training without labels give a deep sigmoid network that has few labels?",
    known="It beats small random weights, in test error and in how much that depends on the seed.",
    source="Bengio, Lamblin, Popovici & Larochelle, 2007; Erhan et al., 2010",
    claims=(
        Claim(
            "the reconstruction error of every layer at least halves",
            "error_left",
            high=0.5,
            why="after over before, the largest of all layers, both schemes and all seeds",
        ),
        Claim(
            "from N(0, 0.01²) the network stays near guessing",
            "small_accuracy",
            high=0.2,
            why="twice the 10 % of guessing; the loss leaves its plateau only later",
        ),
        Claim(
            "machines beat every random start with every seed",
            "rbm_over_best",
            low=0.0,
            why="test accuracy, each start at its own best rate; worst seed minus best seed of the best random start",
        ),
        Claim(
            "autoencoders do, too",
            "autoencoder_over_best",
            low=0.0,
            why="likewise",
        ),
        Claim(
            "test accuracy depends less on the seed than from random weights",
            "spread_left",
            high=0.5,
            why="standard deviation over seeds, the larger of both schemes over the largest of the random starts (one "
            "that learns nothing does not vary); half, so that it is no accident of few seeds",
        ),
    ),
    measure=measure,
)
