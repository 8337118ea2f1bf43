"""The experiment on pre-training: its starts are those of the seed, and starts without training contradict it."""

from __future__ import annotations

from functools import partial

import pytest

from fanin.compare import run
from fanin.data import load
from fanin.experiments import REGISTRY, pretraining
from fanin.experiments._nets import mlp
from fanin.schemes import REGISTRY as SCHEMES


def test_a_race_gives_each_seed_its_own_start():
    data = load("digits").flat().take(100, 50)
    make = partial(mlp, [64, 12, 10], "sigmoid")
    start, shares = pretraining.pretrained("rbm", make, data.batch(20).inputs, data.train_x, (3, 8), 5)
    assert len(shares) == 2
    assert max(shares) < 1
    race = run(make, data, {"machines": start}, lrs=1e-9, seeds=(8, 3), steps=1, probe=first_weight, probe_at=[0])
    found = {entry.seed: entry.probes[0][1] for entry in race.runs}
    expected = {seed: float(recipe["fc1.weight"].array[0, 0]) for seed, recipe in start.recipes.items()}
    assert found == expected
    assert found[3] != found[8]


def first_weight(model, step):
    return float(next(model.parameters()).detach()[0, 0])


def test_without_training_no_layer_reconstructs_better(monkeypatch: pytest.MonkeyPatch):
    data = load("digits").flat().take(600)
    make, batch = partial(mlp, [64, 32, 32, 10], "sigmoid"), data.batch(20).inputs
    claim = next(entry for entry in REGISTRY["pretraining"].claims if entry.number == "error_left")
    _, shares = pretraining.pretrained("rbm", make, batch, data.train_x, (0,), 30)
    assert claim.holds(max(shares))
    original = SCHEMES["rbm"].__init__
    monkeypatch.setattr(SCHEMES["rbm"], "__init__", lambda self, **options: original(self, **options, lr=1e-9))
    _, shares = pretraining.pretrained("rbm", make, batch, data.train_x, (0,), 30)
    assert not claim.holds(min(shares))
