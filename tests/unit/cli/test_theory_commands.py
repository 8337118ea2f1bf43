"""fanin phase and fanin predict: what they compute, what they draw, what they refuse."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import pytest

from fanin.cli import main
from fanin.theory import critical

MODELS = """
import torch
from torch import nn

def deep():
    layers = [layer for _ in range(6) for layer in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(64, 10))

def rank_one():
    model = deep()
    for parameter in model.parameters():
        if parameter.shape == (64, 64):
            parameter.data = torch.outer(torch.randn(64), torch.randn(64)) * (2 / 64) ** 0.5
    return model

def bump(x):
    return torch.exp(-x * x)

def wild(x):
    return torch.exp(x * x)
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("user") / "theory_models.py"
    path.write_text(MODELS)
    return f"{path}:"


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("LANG", "en_US.UTF-8")
    monkeypatch.delenv("LC_ALL", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))


def grid(shown: str) -> list[str]:
    """Rows of the map, from the largest bias variance down."""
    return [line.partition("│")[2] for line in shown.splitlines() if "│" in line]


def test_the_critical_line_is_drawn_where_theory_puts_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phase", "tanh", "--weight-var", "3.6", "--bias-var", "0.17"]) == 0
    rows = grid(capsys.readouterr().out)
    assert len(rows) == 18
    for index, row in enumerate(reversed(rows)):
        # Cells are 3.6/72 = 0.05 wide; a mark on the nearer of the two cells beside the line is off by at most one.
        point = critical("tanh", bias_var=0.17 * index / 17)
        assert abs(0.05 * (row.index("●") + 0.5) - point.weight_var) <= 0.05
        assert set(row[: row.index("●")]) <= set(" ·░")
        assert set(row[row.index("●") + 1 :]) <= set("▒▓")


def test_points_rules_and_grid_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phase", "gelu", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    use = data["critical"][0]
    assert use["use"]
    assert use["stability"] == "half-stable"
    assert use["weight_var"] == pytest.approx(critical("gelu").weight_var)
    assert use["gain"] == pytest.approx(math.sqrt(use["weight_var"]))
    assert [rule["rule"] for rule in data["rules"]] == ["torch's default reset", "LeCun, Glorot", "He"]
    assert data["rules"][2]["effect"] == "the signal dies"
    assert len(data["diagram"]["chi_perp"]) == len(data["diagram"]["bias_var"]) == 60
    assert data["why_none"] == ""


def test_he_is_critical_for_relu_and_nothing_else_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phase", "relu", "--json"]) == 0
    effects = [rule["effect"] for rule in json.loads(capsys.readouterr().out)["rules"]]
    assert effects == ["the signal dies", "the signal dies", "critical"]


@pytest.mark.parametrize("name", ["sigmoid", "softplus"])
def test_no_usable_point_is_said_plainly(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["phase", name]) == 0
    shown = capsys.readouterr().out
    assert "No usable critical point." in shown
    assert "●" not in shown
    assert main(["phase", name, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["critical"] == []
    assert "no usable critical point" in data["why_none"]


def test_a_function_of_ones_own_and_ascii(
    models: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["phase", models + "bump"]) == 0
    capsys.readouterr()
    monkeypatch.setenv("LC_ALL", "C")
    assert main(["phase", "tanh"]) == 0
    shown = capsys.readouterr().out
    assert shown.isascii()
    assert "O critical line" in shown
    assert main(["predict", models + "deep", "--data", "digits"]) == 0
    assert capsys.readouterr().out.isascii()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["phase", "tahn"], "Did you mean 'tanh'"),
        (["phase", "relu", "--bias-var", "-1"], "--bias-var"),
        (["phase", "relu", "--weight-var", "nan"], "--weight-var"),
        (["phase", "{}wild"], "fn"),
        (["predict", "{}deep", "--data", "digits", "--scheme", "hee"], "Did you mean 'he'"),
        (["predict", "{}nothing"], "has no 'nothing'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_refusals(arguments: list[str], says: str, models: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([argument.format(models) for argument in arguments]) == 2
    assert says in capsys.readouterr().err


def predicted(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    assert main(["predict", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_predictions_beside_measurements(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = predicted(capsys, models + "deep", "--data", "digits")
    assert [row["place"] for row in data["places"]] == [str(i) for i in range(0, 13, 2)]
    for row in data["places"]:
        for way in ("forward", "backward"):
            pair = row[way]
            assert pair["log2"] == pytest.approx(math.log2(pair["predicted"] / pair["measured"]))
    # Seven layers of 64: √(5 · 7/64) in ln q, or 1.07 in log2, three times that.
    assert max(abs(row["forward"]["log2"]) for row in data["places"]) < 3.2
    assert data["summary"]["forward"]["count"] == 7
    assert data["summary"]["backward"]["median"] < 0.6
    broken = predicted(capsys, models + "rank_one", "--data", "digits")
    assert broken["summary"]["forward"]["median"] > data["summary"]["forward"]["median"]


def test_a_scheme_is_written_first_and_theory_reads_its_plan(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    he = predicted(capsys, models + "deep", "--data", "digits", "--scheme", "he")
    lecun = predicted(capsys, models + "deep", "--data", "digits", "--scheme", "lecun")
    # Twice the variance in each of the six layers before a rectifier.
    for depth, (a, b) in enumerate(zip(he["places"][:6], lecun["places"][:6]), start=1):
        assert a["forward"]["predicted"] == pytest.approx(2**depth * b["forward"]["predicted"], rel=1e-6)
    assert main(["predict", models + "deep", "--data", "digits", "--scheme", "he", "--all"]) == 0
    shown = capsys.readouterr().out
    assert "scheme 'he'" in shown
    assert "within a factor of two" in shown


def test_the_named_file_is_left_alone(models: str, capsys: pytest.CaptureFixture[str]) -> None:
    first = predicted(capsys, models + "deep", "--input", "64")
    again = predicted(capsys, models + "deep", "--input", "64")
    assert first == again
    assert Path(models.rstrip(":")).read_text() == MODELS
