"""What the experiments measure with, and that a wrong start makes their claims fail."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fanin.compare import Curve, Run
from fanin.errors import DataError, InputError, UnknownNameError
from fanin.experiments import (
    REGISTRY,
    Claim,
    Settings,
    chain,
    glorot_variance,
    judge,
    mitigations,
    orthogonal,
    residual,
)
from fanin.experiments._images import images
from fanin.experiments._nets import (
    along,
    factor,
    mlp,
    normal_inputs,
    predicted,
    recipe,
    share_outside,
    signals,
    started,
)
from fanin.experiments._races import curves, margin
from fanin.initializers import HeNormal, Normal, Zeros
from fanin.signals import Histogram, Signal


def test_a_claim_is_its_bounds() -> None:
    claim = Claim("between", "x", 1.0, 2.0)
    assert [claim.holds(x) for x in (0.999, 1.0, 1.5, 2.0, 2.001, math.nan, math.inf)] == [
        False,
        True,
        True,
        True,
        False,
        False,
        False,
    ]
    assert Claim("at least", "x", low=0.0).holds(math.inf)
    with pytest.raises(KeyError, match="y"):
        judge([Claim("missing", "y", low=0)], {"x": 1.0})


def test_settings_refuse_what_they_cannot_be() -> None:
    with pytest.raises(InputError, match="size: got 'huge'"):
        Settings("huge")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seed: got -1"):
        Settings(seed=-1)
    assert Settings("quick").pick(1, 2, 3) == 2
    assert Settings(seed=5).seeds(3) == (5, 6, 7)


def test_the_right_start_reproduces_and_a_wrong_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings("quick", data="digits")
    assert REGISTRY["glorot-variance"].run(settings).verdict == "reproduced"
    monkeypatch.setattr(glorot_variance, "STARTS", {**glorot_variance.STARTS, "Xavier": HeNormal()})
    spoiled = REGISTRY["glorot-variance"].run(settings)
    failed = {entry.claim.number for entry in spoiled.checked if not entry.holds}
    assert "forward_xavier" in failed
    assert not failed & {"forward_fan_in", "backward_fan_in", "forward_fan_out", "backward_fan_out"}
    assert spoiled.verdict == "partly"


def test_raw_qr_is_told_from_a_uniform_matrix() -> None:
    random = np.random.default_rng(0)
    raw = orthogonal._statistics("raw", orthogonal._qr(4000, 3, random))
    fixed = orthogonal._statistics("fixed", orthogonal._qr_signs(4000, 3, random))
    assert max(raw["trace_z"], raw["det_z"]) > 10
    # Three statistics of one sample: beyond 4.5 standard errors once in 50,000 seeds.
    assert max(fixed["trace_z"], fixed["trace_squared_z"], fixed["det_z"]) < 4.5


@pytest.mark.parametrize("fn", ["sigmoid", "tanh", "linear"])
def test_the_chain_rule_by_hand_agrees_with_differences(fn: str) -> None:
    random = np.random.default_rng(1)
    w, b, x = random.normal(size=5), random.normal(size=5), 0.3
    call = {"sigmoid": lambda h: 1 / (1 + math.exp(-h)), "tanh": math.tanh, "linear": lambda h: h}[fn]

    def output(layer: int, change: float) -> float:
        value = x
        for index in range(5):
            value = call(w[index] * value + b[index] + (change if index == layer else 0.0))
        return value

    step = 1e-5
    slopes = [(output(layer, step) - output(layer, -step)) / (2 * step) for layer in range(5)]
    assert chain._by_hand(fn, w, b, x) == pytest.approx(slopes, rel=1e-6)
    assert chain._autograd(fn, w, b, x) == pytest.approx(np.array(slopes), rel=1e-6)


def test_a_recipe_covers_every_parameter_and_overrides_by_name() -> None:
    model = mitigations.normed([4, 6, 6, 3])
    plan = recipe(model, Normal(std=0.5), only={"fc3.weight": Zeros()})
    assert list(plan) == [name for name, _ in model.named_parameters()]
    started(model, plan, 0)
    assert not model.fc3.weight.any()
    assert torch.equal(model.norm1.weight, torch.ones(6))
    assert model.fc1.weight.std() > 0.1


def test_predicted_and_measured_stand_side_by_side() -> None:
    model = mlp([64] * 4, "relu", bias=False)
    plan = recipe(model, HeNormal())
    record = predicted(signals(started(model, plan, 0), normal_inputs(200, 64, 0)), model, plan)
    measured, theory = along(record, "fc"), along(record, "fc", source="predicted")
    assert len(measured) == len(theory) == 3
    assert [s.second_moment for s in theory] == pytest.approx([2.0, 2.0, 2.0], rel=0.05)
    # One network of width 64: √(3 · 5/64) = 48 % per standard deviation at layer 3.
    assert measured[0].second_moment == pytest.approx(2.0, rel=0.3)


def test_factor_is_the_geometric_mean() -> None:
    assert factor([8.0, 4.0, 1.0]) == pytest.approx(1 / math.sqrt(8))
    assert factor([1.0, 0.0]) == 0.0
    assert math.isnan(factor([0.0, 1.0]))


def test_share_outside_counts_both_ends() -> None:
    signal = Signal("x", 0, "forward", "measured", 10, 0.0, 1.0, histogram=Histogram(0.0, 1.0, (3, 1, 1, 1, 4)))
    assert share_outside(signal, 0.2, 0.8) == 0.7
    assert share_outside(signal, -1.0, 2.0) == 0.0


def test_digits_stand_in_for_missing_images_and_say_so(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FANIN_DATA", str(tmp_path))
    images.__globals__["_whole"].cache_clear()
    data, words = images(Settings("tiny"), train=50, test=20)
    assert (len(data.train_x), len(data.test_x)) == (50, 20)
    assert words.startswith("digits: 50 training and 20 test images (embedded; mnist: no ")
    with pytest.raises(DataError, match="mnist"):
        images(Settings("tiny", data_dir=str(tmp_path)))
    with pytest.raises(UnknownNameError):
        images(Settings("tiny", data="cifar"))
    images.__globals__["_whole"].cache_clear()


def _run(losses: tuple[float, ...], seed: int) -> Run:
    return Run("a", 0.1, seed, 4, Curve(tuple(range(1, len(losses) + 1)), losses, diverged=len(losses) < 4))


def test_curves_show_median_and_range_and_stop_where_one_seed_diverged() -> None:
    rows = curves({"a": [_run((4.0, 4.0, 4.0, 4.0), 0), _run((2.0, 2.0, math.nan), 1)]})
    assert rows[0] == {"scheme": "a", "step": 1, "median": 3.0, "low": 2.0, "high": 4.0, "diverged": 0.0}
    assert [row["median"] for row in rows] == [3.0, 3.0, None, None]
    assert rows[-1]["diverged"] == 0.5


def test_margin_is_negative_where_seeds_overlap() -> None:
    assert margin([3, 4], [1, 2]) == 1
    assert margin([1.5, 4], [1, 2]) < 0
    assert margin([math.inf, 5], [1, 2]) == 3


def test_residual_blocks_double_the_power_and_zero_ends_keep_it() -> None:
    model = residual.Net(256, 256, 6, 10)
    plans = residual.starts(model)
    x = normal_inputs(64, 256, 0)
    he = residual.powers(started(model, plans["He"], 0), x)  # type: ignore[arg-type]
    zero = residual.powers(started(model, plans["He, ends 0"], 0), x)  # type: ignore[arg-type]
    # A block of 256 units strays by √(2 · 5/256)/2 = 10 %, six of them on average by 4 %.
    assert factor(he) == pytest.approx(2.0, rel=0.2)
    assert factor(he) != pytest.approx(1.0, rel=0.2)
    assert zero == [zero[0]] * 7
    plain = residual.Net(256, 256, 6, 10, skip=False)
    assert factor(residual.powers(started(plain, residual.starts(plain)["He"], 0), x)) < 1.5  # type: ignore[arg-type]


def test_convolutions_take_flat_images() -> None:
    model = mitigations.convolutional(7, 10, 3)
    assert model(torch.zeros(2, 49)).shape == (2, 10)
    assert isinstance(model.conv1, nn.Conv2d)


def test_squared_error_is_that_of_probabilities() -> None:
    logits = torch.tensor([[100.0, 0.0], [0.0, 100.0]])
    assert float(mitigations.squared_error(logits, torch.tensor([0, 1]))) == pytest.approx(0.0, abs=1e-9)
    assert float(mitigations.squared_error(logits, torch.tensor([1, 0]))) == pytest.approx(2.0)


def test_outcomes_are_frozen_records_that_follow_their_numbers() -> None:
    outcome = REGISTRY["glorot-variance"].run(Settings("tiny"))
    changed = replace(
        outcome,
        checked=judge(
            REGISTRY["glorot-variance"].claims,
            dict.fromkeys((claim.number for claim in REGISTRY["glorot-variance"].claims), math.nan),
        ),
    )
    assert changed.verdict == "not reproduced"
    assert changed.to_json()["claims"][0]["measured"] == "nan"
