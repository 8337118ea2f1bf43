"""What figures compute: golden numbers on networks made by hand, laws on random ones, and titles that follow."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import fanin
from fanin.errors import InputError
from fanin.fans import linear
from fanin.initializers import HeNormal, HeUniform, Orthogonal, TruncatedNormal, Uniform
from fanin.keys import Key
from fanin.recipe import Line, Recipe
from fanin.report import Report
from fanin.report._weights import measure_weights, operating_points
from fanin.report.figures import REGISTRY, figure, names
from fanin.report.figures._histograms import outline, quantile, without_zeros
from fanin.report.figures._tensors import planned_density
from fanin.report.figures._words import across, journey, trend
from fanin.report.figures.race import interval
from fanin.signals import Histogram, Signal, Signals


def signals(
    variances: list[float], *, gradients: list[float] | None = None, predicted: list[float] | None = None, **extra: Any
) -> Signals:
    """Places a, b, c, … with these statistics."""
    rows = [
        Signal(chr(97 + k), k, "forward", "measured", 100, 0.0, v, histogram=Histogram(-1.0, 1.0, (1, 2, 1)), **extra)
        for k, v in enumerate(variances)
    ]
    rows += [Signal(chr(97 + k), k, "forward", "predicted", 0, 0.0, v) for k, v in enumerate(predicted or [])]
    rows += [Signal(chr(97 + k), k, "backward", "measured", 100, 0.0, g * g) for k, g in enumerate(gradients or [])]
    return Signals(rows)


@pytest.fixture(scope="module")
def checked() -> Report:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 5))
    x, y = torch.randn(64, 16), torch.randint(0, 5, (64,))
    recipe = fanin.init_(model, x, seed=0, force=True)
    return replace(fanin.check(model, x, y), recipe=recipe)


# -- golden data


def test_gradients_golden() -> None:
    data = figure("gradients", signals([1.0] * 4, gradients=[1e-6, 1e-4, 1e-2, 1.0])).data
    assert data["title"] == "The gradient shrinks ×0.01 a layer: 1 → 1e-6 back through 4 layers"
    assert [(row["layer"], row["place"], row["value"], row["state"]) for row in data["rows"]] == [
        (1, "a", pytest.approx(1e-6), "value"),
        (2, "b", pytest.approx(1e-4), "value"),
        (3, "c", pytest.approx(1e-2), "value"),
        (4, "d", 1.0, "value"),
    ]


def test_variance_golden() -> None:
    found = figure("variance", signals([1.0, 0.5, 0.25, 0.125, 0.0625], predicted=[1.0, 0.5, 0.25, 0.125, 0.0625]))
    assert found.title == "The signal's variance halves at each layer: 1 → 0.062 over 5 layers, as predicted"
    assert [row["value"] for row in found.data["rows"] if row["series"] == "predicted"] == pytest.approx(
        [1, 0.5, 0.25, 0.125, 0.0625]
    )
    off = figure("variance", signals([1.0, 1.0, 1.0], predicted=[1.0, 0.5, 0.1]))
    assert off.title == "The signal's variance stays between 1 and 1 over 3 layers; theory is off by up to ×10 at c"
    alone = figure("variance", signals([1.0, 1.0]))
    assert {row["series"] for row in alone.data["rows"]} == {""}


def test_zero_and_broken_values_are_marked_not_dropped() -> None:
    data = figure("gradients", signals([1.0] * 3, gradients=[0.0, 1.0, 2.0])).data
    assert data["rows"][0]["state"] == "zero"
    assert data["title"] == "The gradient is exactly zero at 1 of 3 layers, first at a"
    broken = Signals(replace(s, nonfinite_fraction=0.5 if s.place == "b" else 0.0) for s in signals([1.0, 1.0, 1.0]))
    data = figure("variance", broken).data
    assert data["rows"][1] == {"layer": 2, "place": "b", "series": "", "value": None, "state": "not finite"}
    assert data["title"] == "The signal's variance is not finite from layer 2 (b) on"


def test_several_records_become_series() -> None:
    data = figure("gradients", {"he": signals([1.0], gradients=[0.5]), "xavier": signals([1.0], gradients=[1e-9])}).data
    assert [row["series"] for row in data["rows"]] == ["he", "xavier"]
    assert data["title"] == "Gradient at the first layer of 1: 0.5 with he, 1e-9 with xavier"


def test_correlation_titles() -> None:
    alike = Signals(replace(s, sample_correlation=c) for s, c in zip(signals([1.0] * 3), (0.2, 0.992, 0.999)))
    assert figure("correlation", alike).title.startswith("All samples look alike from layer 2 of 3 on")
    apart = Signals(replace(s, sample_correlation=0.3) for s in signals([1.0] * 3))
    assert figure("correlation", apart).title == "Samples stay apart: correlation at most 0.3 over 3 layers"


def test_activations_keep_the_mass() -> None:
    histogram = Histogram(-2.0, 2.0, tuple(range(64)))
    data = figure("activations", Signals([replace(signals([1.0])[0], histogram=histogram)])).data
    heights = np.array([row["height"] for row in data["rows"]])
    assert heights.max() == 1.0
    expected = np.interp([row["x"] for row in data["rows"]], np.linspace(-2, 2, 64), np.arange(64) / 63)
    inside = slice(3, -3)
    assert np.abs(heights[inside] - expected[inside]).max() < 0.05


def test_silent_reads_shares(checked: Report) -> None:
    hot = signals([1.0, 1.0], saturated_fraction=0.6)
    assert figure("silent", Report((), signals=hot)).title == "Up to 60% of the values are saturated, worst at a"


def test_every_figure_of_a_report(checked: Report) -> None:
    drawn = {name for name in names() if REGISTRY[name].of_report}
    assert len(drawn) >= 10
    for name in drawn:
        assert checked.figure(name).data["rows"]
    with pytest.raises(InputError, match="race"):
        checked.figure("race")


def test_nothing_to_draw_is_said() -> None:
    empty = Report((), signals=Signals())
    for name in ("gradients", "variance", "activations", "histograms", "plan"):
        with pytest.raises(InputError, match=name):
            figure(name, empty)
    with pytest.raises(InputError, match="records"):
        figure("gradients", 3)


# -- weights and plans


def test_weights_follow_their_plan_and_are_seen_not_to(checked: Report) -> None:
    assert checked.figure("weights").title == "The weights are spread as planned, in all 3 tensors"
    wrong = replace(checked, weights=[replace(w, std=1.5 * w.std) for w in checked.weights])
    assert "3 of 3 tensors miss their planned spread" in wrong.figure("weights").title
    assert "×1.5" in wrong.figure("weights").title


@pytest.mark.parametrize(
    "initializer", [HeNormal(), HeUniform(), TruncatedNormal(stddev=0.3), Uniform(-0.2, 0.7), Orthogonal()]
)
def test_planned_density_has_the_moments_of_the_plan(initializer: Any) -> None:
    fans = linear((40, 30))
    line = Line("w", initializer, "", (40, 30), fans)
    x = np.linspace(-3, 3, 60_001)
    density = np.array([planned_density(line, float(at)) for at in x])
    step = x[1] - x[0]
    mean = (x * density).sum() * step
    assert density.sum() * step == pytest.approx(1, abs=1e-3)
    assert mean == pytest.approx(initializer.mean(fans, (40, 30)), abs=1e-3)
    assert math.sqrt(((x - mean) ** 2 * density).sum() * step) == pytest.approx(line.std, rel=1e-3)


def test_density_lies_over_the_histogram() -> None:
    """Each bin count is within 5 standard errors of the planned density; a density of twice the width is not."""
    fans = linear((200, 100))
    line = Line("w", HeNormal(), "", (200, 100), fans)
    array = line.initializer.draw(Key(0, "w"), (200, 100), fans)
    [stats] = measure_weights({"w": array})
    assert stats.histogram is not None
    total = sum(stats.histogram.counts)
    width = (stats.histogram.high - stats.histogram.low) / 64

    def worst(scale: float) -> float:
        assert stats.histogram is not None
        errors = []
        for k, count in enumerate(stats.histogram.counts):
            x = stats.histogram.low + (k + 0.5) * width
            expected = total * width * planned_density(line, x / scale) / scale
            if expected > 20:
                errors.append(abs(count - expected) / math.sqrt(expected))
        return max(errors)

    assert worst(1.0) < 5
    assert worst(2.0) > 5


def test_plan_before_and_after(checked: Report) -> None:
    assert checked.figure("plan").title == "The weights are as wide as auto plans them"
    doubled = replace(checked, weights=[replace(w, std=2 * w.std) for w in checked.weights])
    assert "changes the spread of 3 of 6 tensors" in doubled.figure("plan").title
    assert "×0.5" in doubled.figure("plan").title
    recipe = Recipe([Line("w", HeNormal(), "because", (3, 2), linear((3, 2)))], scheme="mine")
    assert figure("plan", recipe).title == "mine writes 1 tensors: 1 HeNormal"
    assert figure("plan", recipe).table()[1] == [["w", None, pytest.approx(1.0), "HeNormal", "because"]]


def test_updates_scale_with_the_learning_rate(checked: Report) -> None:
    one, tenth = (dict(checked.figure("updates", lr=lr).table()[1]) for lr in (1.0, 0.1))
    assert one
    assert all(tenth[name] == pytest.approx(0.1 * ratio) for name, ratio in one.items())
    weights = {w.name: w for w in checked.weights}
    name = "0.weight"
    assert one[name] == pytest.approx(weights[name].gradient / weights[name].rms)  # type: ignore[operator]
    adam = dict(checked.figure("updates", lr=1.0, optimizer="adam").table()[1])
    assert adam[name] == pytest.approx(1 / weights[name].rms)
    with pytest.raises(InputError, match="lr"):
        checked.figure("updates", lr=-1)
    with pytest.raises(InputError, match="adam"):
        checked.figure("updates", optimizer="lion")


# -- theory


def test_phase_of_known_points() -> None:
    """ReLU: χ = σ_w²/2, critical at 2 (He et al., 2015); tanh at σ_b² = 0: critical at 1."""
    data = figure("phase", "relu", points={"half": (1.0, 0.0), "he": (2.0, 0.0), "twice": (4.0, 0.1)}).data
    assert [(p["name"], p["phase"]) for p in data["points"]] == [
        ("half", "ordered"),
        ("he", "critical"),
        ("twice", "chaotic"),
    ]
    assert [p["chi_perp"] for p in data["points"]] == pytest.approx([0.5, 1.0, 2.0], rel=1e-4)
    assert all(row["chi_perp"] == pytest.approx(row["weight_var"] / 2, rel=1e-4) for row in data["rows"][:36])
    assert {round(p["weight_var"], 6) for p in data["line"]} == {2.0}


def test_operating_points_come_from_the_weights(checked: Report) -> None:
    activation, points = operating_points(checked)
    assert activation == "tanh"
    weights = {w.name: w for w in checked.weights}
    assert points["2.weight"] == (pytest.approx(32 * weights["2.weight"].std ** 2), 0.0)
    assert "4.weight" not in points, "nothing follows the head"
    with pytest.raises(InputError, match="statistics of its weights"):
        operating_points(replace(checked, weights=()))


def test_correlation_map_of_the_linear_network_is_the_diagonal() -> None:
    data = figure("correlation_map", {"linear": ("linear", 1.0)}, q=1.0).data
    assert all(row["after"] == pytest.approx(row["c"], abs=1e-9) for row in data["rows"])
    relu = figure("correlation_map", {"relu": ("relu", 2.0)}).data
    assert relu["rows"][0]["after"] == pytest.approx(1 / math.pi)  # Cho & Saul, 2009


def test_jacobian_spread() -> None:
    flat = figure("jacobian", {"orthogonal": [1.0] * 50, "two": [100.0] * 25 + [1.0] * 25})
    assert flat.title == "90 % of the singular values lie within 0 decades with orthogonal, 2 decades with two"
    with pytest.raises(InputError, match="singular values"):
        figure("jacobian", [1.0, math.nan])


# -- races


def test_interval_covers_the_median() -> None:
    """Exact coverage from the binomial, and the same by simulation."""
    draws = np.random.default_rng(0)
    for n in (5, 10, 20):
        covered = 0
        for _ in range(4000):
            low, high = interval(list(draws.normal(size=n)))
            covered += low <= 0 <= high
        assert covered / 4000 >= 0.9375 - 5 * math.sqrt(0.95 * 0.05 / 4000)
    assert interval(list(map(float, range(20)))) == (5.0, 14.0)
    narrow = sum(v[9] <= 0 <= v[10] for v in np.sort(draws.normal(size=(1000, 20)), axis=1)) / 1000
    assert narrow < 0.5, "two middle values alone would not cover"


def race(diverge: bool = False) -> Any:
    """What the figure reads of a Race."""

    def curve(end: float, dead: bool) -> Any:
        losses = [1.0 * (end ** (k / 9)) for k in range(10)]
        losses = losses[:4] if dead else losses
        return SimpleNamespace(
            steps=tuple(range(1, len(losses) + 1)),
            test_steps=(0, 10) if not dead else (0,),
            test_losses=(1.0, end) if not dead else (1.0,),
            test_accuracies=(0.1, 1 - end) if not dead else (0.1,),
            smoothed=lambda window: tuple(losses),
        )

    curves = {
        "he": [curve(0.01 * k, False) for k in (1, 2, 3, 4, 5)],
        "wide": [curve(0.5, diverge) for _ in range(5)],
    }
    return SimpleNamespace(
        schemes=tuple(curves), curves=lambda scheme: curves[scheme], settings={"data": "digits"}, seeds=(0, 1, 2, 3, 4)
    )


def test_race_of_curves() -> None:
    found = figure("race", race())
    last = [row for row in found.data["rows"] if row["series"] == "he"][-1]
    assert (last["median"], last["low"], last["high"]) == (
        pytest.approx(0.03),
        pytest.approx(0.01),
        pytest.approx(0.05),
    )
    assert found.title == "he reaches training loss 0.03; wide, next, 0.5"
    assert "digits" in found.data["source"]
    accuracy = figure("race", race(), metric="test_accuracy")
    assert accuracy.title.startswith("he reaches test accuracy 0.97")


def test_diverged_runs_count_as_worst() -> None:
    found = figure("race", race(diverge=True))
    assert found.title == "he reaches training loss 0.03; wide diverged"
    ends = [row for row in found.data["rows"] if row["series"] == "wide"]
    assert ends[0]["median"] is not None
    assert ends[-1]["median"] is None


def test_race_of_rows_and_of_nonsense() -> None:
    rows = [
        {"scheme": s, "step": k, "median": v, "low": v - 0.1, "high": v + 0.1}
        for s, v in (("a", 1.0), ("b", 1.1))
        for k in (0, 1)
    ]
    assert (
        figure("race", rows, metric="test loss").title
        == "No difference shown: test loss 1 with a, 1.1 with b, intervals overlap"
    )
    with pytest.raises(InputError, match="median"):
        figure("race", [{"scheme": "a", "step": 0}])
    with pytest.raises(InputError, match="test_accuracy"):
        figure("race", race(), metric="speed")


def test_heatmap() -> None:
    rows = [
        {"depth": d, "scheme": s, "loss": v}
        for s, d, v in (("he", 5, 0.1), ("he", 50, 0.2), ("std 1", 5, 3.0), ("std 1", 50, math.nan))
    ]
    found = figure("heatmap", rows, value="loss", unit="")
    assert found.title == "At 50 layers he reaches loss 0.2, std 1 diverged"
    assert found.table() == (["scheme", "5 layers", "50 layers"], [["he", "0.1", "0.2"], ["std 1", "3", "diverged"]])
    with pytest.raises(InputError, match="accuracy"):
        figure("heatmap", rows)


# -- laws


@given(st.floats(0.05, 20).filter(lambda f: abs(math.log(f)) > 0.05), st.integers(3, 60), st.floats(1e-6, 1e6))
def test_trend_finds_the_factor(factor: float, layers: int, first: float) -> None:
    found = trend([first * factor**k for k in range(layers)])
    assert found.factor == pytest.approx(factor, rel=1e-6)
    assert (found.low, found.high) == (pytest.approx(min(first, found.last)), pytest.approx(max(first, found.last)))


def test_no_factor_without_a_line() -> None:
    assert trend([1.0, 100.0, 1.0, 100.0, 1.0, 100.0]).factor is None
    assert "rises to 1000 at b" in journey("It", [1.0, 1000.0, 1.0, 1.0], list("abcd"))
    assert across("End", {}, 3) == "End of 3: "


@given(st.lists(st.integers(0, 50), min_size=2, max_size=64).filter(any), st.floats(0, 1))
def test_quantile_inverts_the_mass(counts: list[int], share: float) -> None:
    histogram = Histogram(-3.0, 5.0, tuple(counts))
    at = quantile(histogram, share)
    assert -3.0 <= at <= 5.0 + 1e-9
    edges = np.linspace(-3, 5, len(counts) + 1)
    mass = np.interp(at, edges, np.concatenate([[0], np.cumsum(counts)])) / sum(counts)
    assert mass == pytest.approx(share, abs=1e-6)


def test_outline_closes_and_constants_are_visible() -> None:
    steps = outline(Histogram(0.0, 2.0, (1, 3)), [1.0, 3.0])
    assert steps == [{"x": 0.0, "height": 1.0}, {"x": 1.0, "height": 3.0}, {"x": 2.0, "height": 3.0}]
    constant = outline(Histogram(2.0, 2.0, (5, 0)), [5.0, 0.0])
    assert constant[0]["x"] < 2.0 < constant[-1]["x"]


def test_exact_zeros_are_taken_out_of_their_bin() -> None:
    assert without_zeros(Histogram(0.0, 4.0, (60, 20, 15, 5)), 0.5) == [10.0, 20.0, 15.0, 5.0]
    assert without_zeros(Histogram(1.0, 4.0, (60, 40)), 0.5) == [60.0, 40.0]
