"""Predicted minus measured, over whole models: theory sees the law of the weights, never their values."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from torch import nn

from fanin import slots
from fanin.errors import InputError
from fanin.fans import linear
from fanin.graph import Graph, Node
from fanin.initializers import Normal
from fanin.recipe import Line, Recipe
from fanin.signals import Signals
from fanin.theory import array_flow, array_moments, critical, finite_width_spread, predict_graph, weight_moments
from fanin.theory.activations import REGISTRY, Activation
from fanin.theory.propagation import REGISTRY as PROPAGATORS
from fanin.trace import Trace, trace


class Apply(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *x: torch.Tensor) -> torch.Tensor:
        return self.function(*x)


def both(model: nn.Module, x: torch.Tensor, **options) -> tuple[Trace, Signals]:
    measured = trace(model, x)
    places = {n.place: x.numpy() for n in measured.graph.nodes if n.attrs.get("source") == "argument"}
    found = slots.find(model, measured.graph)
    weights = array_moments({name: p.detach().numpy() for name, p in model.named_parameters()}, found)
    return measured, predict_graph(measured.graph, found, weights, places, **options)


def logs(measured: Trace, predicted: Signals, direction: str = "forward", only_weights: bool = True) -> np.ndarray:
    nodes = measured.graph.weight_ops() if only_weights else measured.graph.nodes
    result = []
    for node in nodes:
        a, b = predicted.at(node.place, direction, "predicted"), measured.signals.at(node.place, direction)
        if a is not None and b is not None and b.second_moment > 0 and node.kind != "input":
            result.append(math.log2(max(a.second_moment, 1e-300) / b.second_moment))
    return np.array(result)


def chain(weight_var: float, bias_var: float, q: float, activation: nn.Module, depth: int = 12, width: int = 512):
    layers: list[nn.Module] = []
    for i in range(depth):
        layer = nn.Linear(width, width)
        nn.init.normal_(layer.weight, 0, math.sqrt((q - bias_var if i == 0 else weight_var) / width))
        nn.init.normal_(layer.bias, 0, math.sqrt(bias_var))
        layers += [layer, activation]
    return nn.Sequential(*layers)


@pytest.mark.parametrize(
    ("name", "module"), [("relu", nn.ReLU()), ("tanh", nn.Tanh()), ("gelu", nn.GELU()), ("elu", nn.ELU())]
)
def test_chains(name: str, module: nn.Module) -> None:
    torch.manual_seed(1)
    point = critical(name)
    model, x = chain(point.weight_var, point.bias_var, point.q, module), torch.randn(32, 512)
    measured, predicted = both(model, x)
    # ln q of one network strays by the root of the spread that finite width leaves; a gradient by √(5 depth/width).
    scales = {"weight_var": point.weight_var, "bias_var": point.bias_var, "q": point.q}
    spread = float(finite_width_spread(name, [512] * 12, **scales).max())
    tolerance = 4 * math.sqrt(spread) / math.log(2)
    assert np.abs(logs(measured, predicted, "forward", only_weights=False)).max() < tolerance
    assert np.abs(logs(measured, predicted, "backward", only_weights=False)).max() < 4 * math.sqrt(5 * 12 / 512)
    # The twin: a fan-out in place of the fan-in, or a forgotten factor, would show.
    wrong = both(chain(1.5 * point.weight_var, point.bias_var, point.q, module), x)[0]
    assert np.abs(logs(wrong, predicted)).max() > tolerance


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.n = nn.BatchNorm2d(32)
        self.b = nn.Conv2d(32, 32, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.b(torch.relu(self.n(self.a(x))))


class Attention(nn.Module):
    """Pre-norm block; explicit attention with a causal mask, and a gated feed-forward part."""

    def __init__(self, width: int = 64, heads: int = 4, fused: bool = False) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.n1, self.n2 = nn.LayerNorm(width), nn.RMSNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.gate, self.up, self.down = nn.Linear(width, 256), nn.Linear(width, 256), nn.Linear(256, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        q, k, v = (p.view(b, n, self.heads, -1).transpose(1, 2) for p in self.qkv(self.n1(x)).chunk(3, -1))
        if self.fused:
            y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            mask = torch.ones(n, n, dtype=torch.bool).tril()
            logits = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf)
            y = logits.softmax(-1) @ v
        x = x + self.out(y.transpose(1, 2).reshape(b, n, d))
        h = self.n2(x)
        return x + self.down(nn.functional.silu(self.gate(h)) * self.up(h))


class Recurrent(nn.Module):
    def __init__(self, kind) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 32), kind(32, 96, batch_first=True), nn.Linear(96, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(self.embed(x))[0])


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.GroupNorm(4, 32),
        nn.SiLU(),
        Residual(),
        nn.MaxPool2d(2),
        Residual(),
        nn.ConvTranspose2d(32, 64, 2, 2),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Dropout(0.25),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 32),
    )


MODELS = {
    "convolutional": lambda: (convolutional(), torch.randn(16, 3, 16, 16)),
    "attention": lambda: (
        nn.Sequential(nn.Embedding(200, 64), Attention(), Attention()),
        torch.randint(0, 200, (8, 24)),
    ),
    "fused attention": lambda: (
        nn.Sequential(nn.Embedding(200, 64), Attention(fused=True), nn.Linear(64, 64)),
        torch.randint(0, 200, (8, 24)),
    ),
    "post-norm encoder": lambda: (
        nn.Sequential(nn.Linear(16, 64), nn.TransformerEncoderLayer(64, 4, 256, batch_first=True), nn.Linear(64, 64)),
        torch.randn(8, 20, 16),
    ),
    "lstm": lambda: (Recurrent(nn.LSTM), torch.randint(0, 50, (16, 12))),
    "gru": lambda: (Recurrent(nn.GRU), torch.randint(0, 50, (16, 12))),
    "rnn": lambda: (Recurrent(nn.RNN), torch.randint(0, 50, (16, 12))),
}


@pytest.mark.parametrize("name", MODELS)
def test_whole_models_over_their_weight_ops(name: str) -> None:
    torch.manual_seed(4)
    model, x = MODELS[name]()
    measured, predicted = both(model, x)
    forward, backward = logs(measured, predicted), logs(measured, predicted, "backward")
    # A layer of n outputs fed by few independent terms strays by √(2/n): n >= 32, so 0.36 in log2; three of these.
    assert np.median(np.abs(forward)) < 0.15
    assert np.abs(forward).max() < 1.0
    assert np.median(np.abs(backward)) < 0.3
    assert {s.place for s in predicted.select("forward", "predicted")} == {
        n.place for n in measured.graph.nodes if "float" in n.dtype
    }
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    assert np.median(np.abs(logs(both(model, x)[0], predicted))) > 0.3  # the test sees another scale


ELEMENT_OPS = {
    "add": lambda x: x + 0.5 * x.roll(1, -1),
    "scale": lambda x: 3 * x - 1,
    "square": lambda x: x * x,
    "mean over positions": lambda x: x.mean(1),
    "sum over units": lambda x: x.sum(-1),
    "max over positions": lambda x: x.amax(1),
    "softmax": lambda x: x.softmax(-1),
    "log_softmax": lambda x: x.log_softmax(-1),
    "concat": lambda x: torch.cat([x, torch.relu(x)], -1),
    "layer norm": lambda x: nn.functional.layer_norm(x + 3, (64,)),
    "rms norm": lambda x: nn.functional.rms_norm(5 * x, (64,)),
    "normalize": lambda x: nn.functional.normalize(x, dim=-1),
    "pad": lambda x: nn.functional.pad(x, (0, 32)),
    "glu": lambda x: nn.functional.glu(x),
    "exp": torch.exp,
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(min=0.3),
    "pow": lambda x: x.pow(3),
    "sigmoid of relu": lambda x: torch.sigmoid(torch.relu(x)),
    "gram": lambda x: x @ x.roll(1, 0).transpose(-2, -1),
    "unknown": lambda x: torch.special.i0(x),
    "slice": lambda x: x[:, 3:7],
    "dropout": lambda x: nn.functional.dropout(x, 0.3),
}


@pytest.mark.parametrize("name", ELEMENT_OPS)
def test_single_ops_on_white_noise(name: str) -> None:
    torch.manual_seed(2)
    x = torch.randn(64, 16, 64)
    measured, predicted = both(Apply(ELEMENT_OPS[name]), x)
    node = measured.graph.nodes[measured.graph.outputs[0]]
    a, b = predicted.at(node.place, source="predicted"), measured.signals.at(node.place)
    assert a is not None
    assert b is not None
    # The heaviest of these, x⁶ of x.pow(3), has relative standard error √(10395/225 − 1)/√65536 = 2.6 %.
    assert a.second_moment == pytest.approx(b.second_moment, rel=0.08)
    assert a.mean == pytest.approx(b.mean, abs=0.06 * b.rms)
    assert a.exact == (name != "unknown")


def test_every_kind_of_op_has_a_propagator() -> None:
    from typing import get_args

    from fanin.graph import OpKind

    assert set(get_args(OpKind)) - {"input"} <= set(PROPAGATORS)


@pytest.mark.parametrize("name", [n for n in REGISTRY if issubclass(REGISTRY[n], Activation)])
def test_registered_activations_propagate_as_their_moments(name: str) -> None:
    from fanin.theory import moments

    x = Node(0, "argument", "input", "x", "", (), (), (8, 32), "float32", 0, {"source": "argument"})
    y = Node(1, name, "activation", "y", "", (0,), (), (8, 32), "float32", 0)
    q = 1.7
    signals = predict_graph(Graph((x, y), (1,), {}, 8), slots.Slots([]), {}, {"x": (0.0, q)})
    forward, at = signals.at("y", source="predicted"), moments(name, q)
    assert forward is not None
    assert forward.second_moment == pytest.approx(at.second_moment, rel=3e-3)
    assert forward.mean == pytest.approx(at.mean, abs=2e-3)
    backward = signals.at("x", "backward", "predicted")
    assert backward is not None
    expected = at.derivative_second_moment / (8 * 32)
    assert backward.second_moment == pytest.approx(expected, rel=2e-2)


def test_weights_come_from_a_recipe() -> None:
    fans = linear((64, 32))
    recipe = Recipe(
        [Line("0.weight", Normal(std=0.3), "", (64, 32), fans), Line("0.bias", Normal(std=0.2), "", (64,), fans)]
    )
    weights = weight_moments(recipe)
    assert weights["0.weight"] == pytest.approx((0.0, 0.09))
    model = nn.Sequential(nn.Linear(32, 64))
    measured = trace(model, torch.randn(4, 32))
    place = measured.graph.nodes[0].place
    signals = predict_graph(measured.graph, slots.find(model, measured.graph), weights, {place: (0.0, 1.0)})
    at = signals.at("0", source="predicted")
    assert at is not None
    assert at.second_moment == pytest.approx(32 * 0.09 + 0.04)
    assert Signals.from_json(json.loads(json.dumps(signals.to_json()))) == signals
    with pytest.raises(InputError, match=r"0\.weight"):
        predict_graph(measured.graph, slots.find(model, measured.graph), {}, {})
    with pytest.raises(InputError, match="second moment >= mean"):
        predict_graph(measured.graph, slots.find(model, measured.graph), weights, {place: (2.0, 1.0)})
    with pytest.raises(InputError, match="loss"):
        predict_graph(measured.graph, slots.find(model, measured.graph), weights, loss="hinge")  # type: ignore[arg-type]


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_gradient_of_a_loss(loss: str) -> None:
    torch.manual_seed(3)
    model, x = nn.Sequential(nn.Linear(128, 256), nn.ReLU(), nn.Linear(256, 50)), torch.randn(128, 128)
    target = torch.randint(0, 50, (128,)) if loss == "cross_entropy" else torch.randn(128, 50)
    measured = trace(model, x, target)
    found = slots.find(model, measured.graph)
    weights = array_moments({name: p.detach().numpy() for name, p in model.named_parameters()}, found)
    predicted = predict_graph(measured.graph, found, weights, {measured.graph.nodes[0].place: x.numpy()}, loss=loss)
    assert np.abs(logs(measured, predicted, "backward")).max() < 0.25


def test_input_statistics_are_read_from_arrays() -> None:
    random = np.random.default_rng(0)
    common, position = random.normal(size=(1, 1, 400)), random.normal(size=(1, 30, 400))
    own, noise = random.normal(size=(50, 1, 400)), random.normal(size=(50, 30, 400))
    flow = array_flow(common + 0.5 * position + 0.7 * own + noise)
    assert flow.second == pytest.approx(1 + 0.25 + 0.49 + 1, rel=0.1)
    # sample, near, far, cross
    assert flow.kernel[:4] == pytest.approx([1.25, 1.49, 1.49, 1.0], rel=0.15)
    tokens = array_flow(random.integers(0, 4, size=(50, 40)))
    assert tokens.kernel[:3] == pytest.approx([0.25, 0.25, 0.25], abs=0.05)


def test_prediction_is_the_same_every_time() -> None:
    torch.manual_seed(0)
    model, x = MODELS["lstm"]()
    assert both(model, x)[1] == both(model, x)[1]
