"""predict(model): mapping of arguments, buffers and recipes to the graph; each op from the inputs it really had."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

import fanin
from fanin.errors import InputError
from fanin.initializers import Normal
from fanin.signals import Signals
from fanin.slots import find
from fanin.theory import array_moments, model_moments, predict, predict_trace, weight_moments
from fanin.trace import trace


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(32, 256), nn.Linear(48, 256)
        self.register_buffer("offset", torch.full((256,), 3.0))
        self.lookup = nn.Embedding(11, 256)

    def forward(self, first: torch.Tensor, *, second: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return self.a(first) + self.b(second) + self.lookup(ids) + self.offset


def second(signals: Signals, place: str, direction: str = "forward", source: str = "predicted") -> float:
    found = signals.at(place, direction, source)  # type: ignore[arg-type]
    assert found is not None, place
    return found.second_moment


def test_every_argument_finds_its_node() -> None:
    torch.manual_seed(0)
    inputs = {"first": 5 * torch.randn(64, 32), "second": torch.rand(64, 48) + 2, "ids": torch.randint(0, 11, (64,))}
    model = TwoInputs()
    signals = predict(model, inputs)
    measured = trace(model, inputs).signals
    for name in ("first", "second"):
        assert second(signals, name) == pytest.approx(inputs[name].square().mean().item(), rel=1e-5)
    # 256 outputs: a mean square is known to √(2/256) = 9 %, of 3 standard errors.
    for place in ("a", "b", "lookup"):
        assert second(signals, place) == pytest.approx(second(measured, place, source="measured"), rel=0.27), place
    swapped = predict(model, {**inputs, "first": inputs["first"] / 5})
    assert second(swapped, "a") < 0.5 * second(signals, "a")
    assert second(swapped, "b") == second(signals, "b")
    # The buffer is 3 everywhere: E (x + 3)² = E x² + 6 E x + 9.
    *_, before, after = (s for s in signals.select("forward", "predicted") if s.place.startswith("add"))
    assert after.second_moment - before.second_moment - 6 * before.mean == pytest.approx(9, rel=1e-9)


@pytest.mark.parametrize("inputs", ["positional", "keywords"])
def test_positional_arguments_of_equal_shape_are_told_apart(inputs: str) -> None:
    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(16, 64), nn.Linear(16, 64)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.a(x) * self.b(y)

    torch.manual_seed(1)
    x, y = torch.randn(32, 16), 10 * torch.randn(32, 16)
    signals = predict(Pair(), (x, y) if inputs == "positional" else {"x": x, "y": y})
    assert second(signals, "b") > 50 * second(signals, "a")


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def test_a_recipe_speaks_for_its_weights_and_the_others_stay_as_they_are() -> None:
    torch.manual_seed(2)
    model, x = mlp(), torch.randn(64, 64)
    recipe = fanin.plan(model, x, scheme="auto", overrides={"2.weight": Normal(std=0.5)}, only=["2.weight"])
    assert list(recipe) == ["2.weight"]
    before = {name: p.clone() for name, p in model.named_parameters()}
    signals = predict(model, x, recipe)
    own = predict(model, x)
    assert second(signals, "0") == second(own, "0")
    bias = float(model[2].bias.detach().square().mean())
    into = second(signals, "1")
    assert second(signals, "2") == pytest.approx(128 * 0.25 * into + bias, rel=1e-6)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_recipes_that_do_not_fit_are_refused() -> None:
    x = torch.randn(8, 64)
    recipe = fanin.plan(mlp(), x, scheme="he")
    with pytest.raises(InputError, match=r"2\.weight"):
        predict(nn.Sequential(nn.Linear(64, 128)), x, recipe)
    narrower = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    with pytest.raises(InputError, match="shape"):
        predict(narrower, x, recipe)


@pytest.mark.parametrize("kind", ["cross_entropy", "mse", "custom", "cotangent"])
def test_gradients_start_from_the_loss(kind: str) -> None:
    torch.manual_seed(3)
    model, x = mlp(), torch.randn(256, 64)
    target = {"cross_entropy": torch.randint(0, 10, (256,)), "cotangent": None}.get(kind, 3 * torch.randn(256, 10))
    loss = (lambda out, t: (out - t).abs().mean()) if kind == "custom" else None
    signals, run = predict(model, x, target=target, loss=loss), trace(model, x, target, loss)
    assert run.loss_kind == kind
    # Back through ten outputs the mean square is known to √(2/10) = 45 %: 0.65 in log2, twice that.
    for place in ("0", "2", "4"):
        ratio = second(signals, place, "backward") / second(run.signals, place, "backward", "measured")
        assert abs(math.log2(ratio)) < 1.3, place


def test_from_inputs_parts_at_the_op_at_fault_and_not_after_it() -> None:
    torch.manual_seed(4)
    model, x = nn.Sequential(*[m for _ in range(6) for m in (nn.Linear(256, 256), nn.ReLU())]), torch.randn(64, 256)
    for layer in model[::2]:
        nn.init.normal_(layer.weight, 0, math.sqrt(2 / 256))
        nn.init.zeros_(layer.bias)
    with torch.no_grad():  # each row one number, ±: all of them see Σ x, whose square is 256 · (2/π)/2 times Σ x²
        model[4].weight.copy_((torch.randn(256, 1).sign() * math.sqrt(2 / 256)).expand(256, 256))
    run = trace(model, x)
    slots = find(model, run.graph)
    signals = predict_trace(run, slots, model_moments(dict(model.named_parameters()), slots))
    bits, free = {}, {}
    for node in run.graph.weight_ops():
        expected, measured = (
            signals.at(node.place, "forward", "predicted"),
            second(run.signals, node.place, source="measured"),
        )
        assert expected is not None
        assert expected.from_inputs is not None
        bits[node.place] = math.log2(measured / expected.from_inputs)
        free[node.place] = math.log2(measured / expected.second_moment)
    assert bits.pop("4") == pytest.approx(math.log2(256 / math.pi), abs=0.5)
    assert max(map(abs, bits.values())) < 4 * math.sqrt(2 / 256) / math.log(2)
    assert min(free[place] for place in ("6", "8", "10")) > 5  # the free prediction has lost its way for good


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_moments_of_tensors_are_those_of_arrays(dtype: torch.dtype) -> None:
    torch.manual_seed(5)
    tensor = (torch.randn(40, 60) * 0.3 + 0.1).to(dtype)
    wide = tensor.double().numpy()
    for given, expected in ((tensor, wide), (tensor.t(), wide.T), (tensor[::2, 1::3], wide[::2, 1::3])):
        mean, square = array_moments({"w": given}, {})["w"]  # type: ignore[arg-type]
        assert mean == pytest.approx(expected.mean(), rel=1e-6, abs=1e-9)
        assert square == pytest.approx((expected**2).mean(), rel=1e-6)
    assert array_moments({"w": torch.empty(3, device="meta")}, {}) == {}  # type: ignore[arg-type]
    assert array_moments({"w": torch.empty(0)}, {}) == {"w": (0.0, 0.0)}  # type: ignore[arg-type]


def test_gates_of_a_tensor_are_read_one_by_one() -> None:
    model = nn.LSTM(8, 16)
    with torch.no_grad():
        model.bias_ih_l0[16:32] = 1.0  # the forget gate
    slots = find(model, trace(model, torch.randn(5, 3, 8)).graph)
    moments = array_moments(dict(model.named_parameters()), slots)
    assert moments["bias_ih_l0#f"] == pytest.approx((1.0, 1.0))
    assert abs(moments["bias_ih_l0#i"][0]) < 0.3


def test_a_recipe_s_word_and_the_weights_it_wrote_agree() -> None:
    model, x = mlp(), torch.randn(32, 64)
    recipe = fanin.init_(model, x, seed=1)
    slots = find(model, trace(model, x).graph)
    word, weights = weight_moments(recipe, slots), array_moments(dict(model.named_parameters()), slots)
    for name, (mean, square) in word.items():
        # Normal entries: mean to σ/√n, mean square to √(2/n); five of these.
        n = model.get_parameter(name).numel()
        assert weights[name][0] == pytest.approx(mean, abs=5 * math.sqrt(square / n) + 1e-12)
        assert weights[name][1] == pytest.approx(square, rel=5 * math.sqrt(2 / n))


def test_theory_is_imported_without_torch() -> None:
    code = "import sys, fanin.theory as t; t.predict; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
