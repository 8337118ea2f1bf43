"""``fanin compare`` as users meet it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from fanin.cli import main
from fanin.compare import Race
from fanin.compare._store import Store

MODELS = """
import torch
from torch import nn

print("the user's module prints while it is imported")

def mlp():
    return nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))

def image():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

ready = mlp()

def always():
    return ready

def raises():
    raise RuntimeError("mine")

def smooth(output, target):
    return nn.functional.cross_entropy(output, target, label_smoothing=0.2)
"""

SHORT = ["--data", "digits", "--take", "128", "--seeds", "2", "--steps", "4", "--lrs", "0.03,0.3"]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("user") / "race_models.py"
    path.write_text(MODELS)
    return f"{path}:"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", list(sys.path))


def test_it_races_and_says_what_it_did(models: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["compare", models + "mlp", *SHORT, "--schemes", "own,he"]) == 0
    out, err = capsys.readouterr()
    for part in ("Race: own, he", "No difference shown: 2 seeds", "test accuracy", "diverged", "0.03, 0.3"):
        assert part in out
    assert "flattened" in err
    assert "\x1b" not in out + err  # no bar, no colour in a pipe
    assert len(Store(tmp_path / "cache" / "fanin" / "runs.sqlite")) == 8


def test_json_is_all_of_stdout_and_saved(models: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    saved = tmp_path / "race.json"
    arguments = ["compare", models + "image", *SHORT, "--schemes", "torch,glorot", "--json", "--save", str(saved)]
    assert main([*arguments, "--target-accuracy", "0.2", "--optimizer", "adam"]) == 0
    out, err = capsys.readouterr()
    race = Race.from_json(out)
    assert "prints while it is imported" in err
    assert "flattened" not in err  # this model takes images
    assert Race.from_json(saved.read_text()) == race
    assert (race.schemes, race.lrs, race.settings["optimizer"]) == (("torch", "glorot"), (0.03, 0.3), "adam")
    assert race.target is not None
    assert (race.target.kind, race.target.value) == ("test_accuracy", 0.2)


def test_interrupted_and_resumed(
    models: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["compare", models + "mlp", *SHORT, "--schemes", "own,he", "--json", "--store", str(tmp_path / "s")]
    put, stored = Store.put, []

    def interrupted(self: Store, runs: dict) -> None:  # type: ignore[type-arg]
        put(self, runs)
        stored.append(len(runs))
        if len(stored) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Store, "put", interrupted)
    assert main(arguments) == 130
    assert "--resume" in capsys.readouterr().err
    kept = sum(stored)
    assert main([*arguments, "--resume"]) == 0
    resumed = Race.from_json(capsys.readouterr().out)
    assert sum(stored) == len(resumed.runs)  # none of the first was trained again
    assert kept > 0
    assert main(arguments) == 0  # without --resume everything is
    assert sum(stored) == 2 * len(resumed.runs)
    assert Race.from_json(capsys.readouterr().out) == resumed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["mlp", *SHORT, "--schemes", "hee"], "Did you mean 'he'"),
        (["mlp", *SHORT, "--lrs", "0.1,-1"], "lrs"),
        (["mlp", *SHORT, "--lrs", "a"], "list of numbers"),
        (["mlp", "--data", "nope"], "unknown data set"),
        (["mlp"], "--data"),
        (["ready", *SHORT], "a class or function"),
        (["always", *SHORT], "same module twice"),
        (["raises", *SHORT], "RuntimeError: mine"),
        (["mlp", *SHORT, "--epochs", "2"], "not allowed"),
        (["mlp", *SHORT, "--target-accuracy", "3"], "target_accuracy"),
        (["mlp", *SHORT, "--store", "/"], "store /"),
    ],
)
def test_wrong_arguments(models: str, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", models + arguments[0], *arguments[1:]]) == 2
    assert says in capsys.readouterr().err


def test_own_data_and_loss(models: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((80, 64)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, y=x[:, :10].argmax(1))
    common = ["--data", str(tmp_path / "d.npz"), "--schemes", "he", "--steps", "3", "--seeds", "1", "--lrs", "0.1"]
    assert main(["compare", models + "mlp", *common, "--json"]) == 0
    plain = Race.from_json(capsys.readouterr().out)
    assert any("no test part" in note for note in plain.notes)
    assert main(["compare", models + "mlp", *common, "--json", "--loss", models + "smooth"]) == 0
    smooth = Race.from_json(capsys.readouterr().out)
    assert smooth.settings["loss"] == "smooth"
    assert smooth.runs[0].curve.losses != plain.runs[0].curve.losses
    json.dumps(smooth.to_json(), allow_nan=False)
