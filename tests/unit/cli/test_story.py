"""The demo concludes from its numbers: whoever wins, loses or ties is named so."""

from __future__ import annotations

import io

import pytest

from fanin.cli import _story, _story_five, _story_thirty
from fanin.cli._story_thirty import Contender, conclude
from fanin.compare import Curve
from fanin.initializers import Normal
from fanin.report import Report, Screen


def contender(name: str, *accuracies: float) -> Contender:
    curves = tuple(Curve((1,), (1.0,), (0, 1), (2.0, 1.0), (0.1, share)) for share in accuracies)
    return Contender(name, Report([]), {0.1: curves[0]}, 0.1, curves)


def test_a_clear_winner_whoever_it_is() -> None:
    for winner in ("Xavier", "fanin.init_"):
        loser = "fanin.init_" if winner == "Xavier" else "Xavier"
        text = " ".join(conclude([contender(loser, 0.1, 0.11), contender(winner, 0.8, 0.9)], 360, 10))
        assert f"{winner} is best with every seed: 85.0% against 10.5% for {loser}" in text
        assert f"{loser}: no better than guessing" in text


def test_no_winner() -> None:
    text = " ".join(conclude([contender("a", 0.1, 0.1), contender("b", 0.12, 0.1)], 360, 10))
    assert "No start learned reliably" in text
    assert "best with every seed" not in text
    text = " ".join(conclude([contender("a", 0.7, 0.8), contender("b", 0.75, 0.9)], 360, 10))
    assert "overlap: no clear winner" in text


def test_mixed() -> None:
    text = " ".join(conclude([contender("a", 0.1, 0.8), contender("b", 0.85, 0.9)], 360, 10))
    assert "a: learns with some seeds" in text
    assert "b is best with every seed" in text


def test_a_diverged_run_counts_as_nothing() -> None:
    curve = Curve((1,), (float("inf"),), (0,), (2.0,), (0.5,), diverged=True)
    assert Contender("a", Report([]), {}, 0.1, (curve,)).accuracies == (0.0,)


@pytest.mark.parametrize(("width", "ascii_"), [(80, True), (120, False)])
def test_it_plays(width: int, ascii_: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_story_thirty, "RATES", (0.01,))
    monkeypatch.setattr(_story_thirty, "EPOCHS", 1)
    monkeypatch.setattr(_story_thirty, "REPEATS", 2)
    monkeypatch.setattr(_story_five, "INPUTS", 100)
    out = io.StringIO()
    _story.play(Screen(out, width=width, ascii=ascii_), seed=1)
    text = out.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    assert "\x1b" not in text
    if ascii_:
        assert text.isascii()
        assert "?" not in text
    for part in ("std 0.01", "Xavier", "fanin.init_", "test accuracy, 2 seeds", "Theory for wide layers"):
        assert part in text


def test_seed_and_start_decide_the_numbers() -> None:
    import torch

    inputs = torch.randn(50, _story_five.UNITS)
    first, again, other = (_story_five.build("relu", Normal(std=1.0), inputs, seed) for seed in (0, 0, 1))
    assert torch.equal(first[0].weight, again[0].weight)  # type: ignore[index]
    assert not torch.equal(first[0].weight, other[0].weight)  # type: ignore[index]
    assert not torch.equal(first[0].weight, first[2].weight)  # type: ignore[index]
