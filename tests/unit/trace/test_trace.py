"""What a trace records, on models that do things differently."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fanin.errors import InputError
from fanin.graph import Node
from fanin.trace import Trace, trace


class Wrap(nn.Module):
    """A model from a function of (itself, x) and named parameters or modules."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        for name, part in parts.items():
            setattr(self, name, part)
        self.function = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)


def parameter(*shape: int) -> nn.Parameter:
    return nn.Parameter(torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))))


def ops(record: Trace) -> list[str]:
    return [node.op for node in record.graph.nodes]


def only(record: Trace, op: str) -> Node:
    (node,) = [node for node in record.graph.nodes if node.op == op]
    return node


# -- parameters: how they were used ------------------------------------------------------------

USES: dict[str, tuple[Callable[..., Any], dict[str, tuple[int, ...]], tuple[int, ...], tuple[int | None, ...]]] = {
    "x @ W": (lambda m, x: x @ m.w, {"w": (4, 5)}, (3, 4), (0, 1)),
    "linear(x, W.t())": (lambda m, x: F.linear(x, m.w.t()), {"w": (4, 5)}, (3, 4), (1, 0)),
    "linear(x, W[e])": (lambda m, x: F.linear(x, m.w[1]), {"w": (2, 5, 4)}, (3, 4), (1, 2)),
    "permuted": (lambda m, x: x @ m.w.permute(2, 0, 1)[0], {"w": (4, 5, 2)}, (3, 4), (0, 1)),
    "chunk of a packed weight": (lambda m, x: F.linear(x, m.w.chunk(3)[1]), {"w": (15, 4)}, (3, 4), (0, 1)),
    "merged": (lambda m, x: F.linear(x, m.w.view(6, 4)), {"w": (2, 3, 4)}, (3, 4), (None, 2)),
    "einsum": (lambda m, x: torch.einsum("bi,oi->bo", x, m.w), {"w": (5, 4)}, (3, 4), (0, 1)),
    "bmm": (lambda m, x: torch.bmm(x, m.w), {"w": (3, 4, 5)}, (3, 2, 4), (0, 1, 2)),
    "conv": (lambda m, x: F.conv1d(x, m.w, groups=2), {"w": (6, 2, 3)}, (2, 4, 8), (0, 1, 2)),
    "scaled": (lambda m, x: F.linear(x, m.w * 0.5), {"w": (5, 4)}, (3, 4), (0, 1)),
    "scaled and turned": (lambda m, x: x @ (m.w * 0.5).t(), {"w": (5, 4)}, (3, 4), (1, 0)),
    "in another dtype": (lambda m, x: F.linear(x.double(), m.w.double()), {"w": (5, 4)}, (3, 4), (0, 1)),
    "rows picked by data": (
        lambda m, x: torch.bmm(x.unsqueeze(1), m.w[(x[:, 0] > 0).long()]),
        {"w": (2, 4, 5)},
        (3, 4),
        (None, 1, 2),
    ),
}


@pytest.mark.parametrize("name", USES)
def test_a_weight_is_found_with_its_axes(name: str) -> None:
    function, parts, shape, axes = USES[name]
    record = trace(Wrap(function, **{key: parameter(*size) for key, size in parts.items()}), torch.randn(shape))
    (node,) = [n for n in record.graph.weight_ops() if n.kind == "linear"]
    (use,) = node.params
    assert (use.name, use.axes) == ("w", axes)
    assert record.signals.at(node.place, "backward") is not None
    assert len(node.inputs) == 1


def test_a_split_axis_is_not_mistaken_for_a_slice() -> None:
    record = trace(Wrap(lambda m, x: x @ m.w.view(2, 3, 4)[0].t(), w=parameter(6, 4)), torch.randn(5, 4))
    assert only(record, "matmul").params[0].axes == (1, 0)  # rows 0 to 2: a plain slice of axis 0
    record = trace(Wrap(lambda m, x: x @ m.w.view(2, 3, 4).mT, w=parameter(6, 4)), torch.randn(5, 4))
    assert only(record, "matmul").params[0].axes == (None, 1, None)


ROLES = {
    "gain": (lambda m, x: m.w * x, (4,), "mul", "mul"),
    "bias": (lambda m, x: x + m.w, (4,), "add", "add"),
    "positions": (lambda m, x: x + m.w[: x.shape[0]], (9, 4), "add", "add"),
    "class token": (lambda m, x: torch.cat([m.w.expand(1, -1), x]), (1, 4), "cat", "concat"),
    "slope": (lambda m, x: F.prelu(x, m.w), (1,), "prelu", "activation"),
    "norm": (lambda m, x: F.layer_norm(x, (4,), m.w), (4,), "layer_norm", "norm"),
    "lookup": (lambda m, x: m.w[x.long().abs()[:, 0].clamp(max=3)], (4, 4), "embedding", "embedding"),
    "learned queries": (lambda m, x: F.linear(m.w, m.other) + x.sum(), (4,), "linear", "linear"),
}


@pytest.mark.parametrize("role", ROLES)
def test_roles_of_parameters(role: str) -> None:
    function, shape, op, kind = ROLES[role]
    record = trace(Wrap(function, w=parameter(*shape), other=parameter(4, 4)), torch.randn(3, 4))
    node = next(n for n in record.graph.nodes if any(u.name == "w" for u in n.params))
    assert (node.op, node.kind) == (op, kind)


def test_a_tied_weight_has_one_name_and_two_uses() -> None:
    embedding = nn.Embedding(7, 4)
    model = Wrap(lambda m, x: m.head(torch.tanh(m.table(x))), table=embedding, head=nn.Linear(4, 7, bias=False))
    model.head.weight = embedding.weight
    record = trace(model, torch.randint(7, (3, 5)), torch.randint(7, (3, 5)))
    assert [node.op for node, _ in record.graph.uses("table.weight")] == ["embedding", "linear"]
    assert list(record.gradients) == ["table.weight"]


def test_a_reparametrized_weight_shows_its_parameters() -> None:
    record = trace(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), torch.randn(5, 4))
    node = only(record, "linear")
    (place,) = [n.place for n, _ in record.graph.uses("parametrizations.weight.original1")]
    assert place == node.place
    names = {use.name.rpartition(".")[2]: use.axes for use in node.params if use.argument == "weight"}
    assert names == {"original0": (None, None), "original1": (0, 1)}
    assert node.attrs["derived"]


# -- arguments ------------------------------------------------------------

ATTRS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "leaky_relu": (lambda m, x: F.leaky_relu(x, 0.2), {"negative_slope": 0.2}),
    "gelu_tanh": (lambda m, x: F.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
    "elu": (lambda m, x: F.elu(x, alpha=0.5), {"alpha": 0.5}),
    "hardtanh": (lambda m, x: F.hardtanh(x, -2.0, 2.0), {"min_val": -2.0, "max_val": 2.0}),
    "softplus": (lambda m, x: F.softplus(x, beta=2), {"beta": 2}),
    "pow": (lambda m, x: x**3, {"exponent": 3.0}),
    "square": (lambda m, x: x.square(), {"exponent": 2}),
    "mul": (lambda m, x: 3 * x, {"factor": 3.0, "addend": 0.0}),
    "rsub": (lambda m, x: 1 - x, {"factor": -1.0, "addend": 1.0}),
    "div": (lambda m, x: x / 4, {"factor": 0.25}),
    "add": (lambda m, x: x.add(2, alpha=3), {"factor": 1.0, "addend": 6.0}),
    "rdiv": (lambda m, x: 2 / x.abs().clamp_min(1), {"numerator": 2.0}),
    "softmax": (lambda m, x: x.softmax(-1), {"dim": -1}),
    "dropout": (lambda m, x: F.dropout(x, 0.3), {"p": 0.3, "training": True}),
    "layer_norm": (lambda m, x: F.layer_norm(x, (4,), eps=0.1), {"eps": 0.1, "normalized_axes": [1]}),
    "mean": (lambda m, x: x.mean(1, keepdim=True), {"dim": 1, "keepdim": True}),
    "clamp": (lambda m, x: x.clamp_max(0.5), {"max": 0.5}),
    "permute": (lambda m, x: x.permute(1, 0), {"dims": [1, 0]}),
    "cat": (lambda m, x: torch.cat([x, x * 2], dim=1), {"dim": 1}),
    "getitem": (lambda m, x: x[:, None, 1:3], {"index": ":, None, 1:3"}),
    "sin": (lambda m, x: torch.sin(x), {}),
}


@pytest.mark.parametrize("op", ATTRS)
def test_arguments_that_change_statistics_are_recorded(op: str) -> None:
    function, expected = ATTRS[op]
    record = trace(Wrap(function, w=parameter(4)), torch.randn(3, 4).add(torch.zeros(3, 4)))
    node = only(record, op)
    assert {key: node.attrs.get(key) for key in expected} == expected
    json.dumps(record.to_json(), allow_nan=False)


def test_parts_of_a_tensor_are_nodes_with_their_index() -> None:
    record = trace(Wrap(lambda m, x: torch.sub(*(x @ m.w).chunk(2, -1)), w=parameter(4, 6)), torch.randn(3, 4))
    parts = [node for node in record.graph.nodes if node.op == "chunk"]
    assert [(n.attrs["index"], n.attrs["dim"]) for n in parts] == [(0, -1), (1, -1)]
    assert only(record, "sub").inputs == tuple(n.id for n in parts)


SPELLINGS: dict[str, list[Callable[..., Any]]] = {
    "add": [lambda m, x: x + m(x), lambda m, x: torch.add(x, m(x)), lambda m, x: m(x).add_(x)],
    "mul": [lambda m, x: x * m(x), lambda m, x: torch.mul(x, m(x)), lambda m, x: m(x).mul_(x)],
    "relu": [lambda m, x: m(x).relu(), lambda m, x: F.relu(m(x)), lambda m, x: F.relu(m(x), inplace=True),
             lambda m, x: torch.relu_(m(x)), lambda m, x: F.relu_(m(x)), lambda m, x: torch.ops.aten.relu(m(x))],
    "matmul": [lambda m, x: m(x) @ x.mT, lambda m, x: torch.matmul(m(x), x.t()), lambda m, x: m(x).matmul(x.T)],
}  # fmt: skip


@pytest.mark.parametrize(("op", "spelling"), [(op, k) for op, ways in SPELLINGS.items() for k in range(len(ways))])
def test_every_spelling_is_one_op(op: str, spelling: int) -> None:
    model = Wrap(lambda m, x: SPELLINGS[op][spelling](m.body, x), body=nn.Linear(4, 4))
    record = trace(model, torch.randn(4, 4))
    node = only(record, op)
    linear = only(record, "linear")
    assert linear.id in node.inputs or any(linear.id in record.graph.nodes[i].inputs for i in node.inputs)
    assert record.graph.outputs == (node.id,)


def test_an_in_place_op_is_what_views_see() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = m.body(x)
        view = y.view(-1)
        y.relu_()
        return view * 2

    record = trace(Wrap(forward, body=nn.Linear(4, 4)), torch.randn(4, 4))
    assert only(record, "mul").inputs == (only(record, "relu").id,)


def test_writing_into_a_slice_joins_both() -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        y = torch.zeros(4, 4)
        y[:2] = m.body(x)
        return y.tanh()

    record = trace(Wrap(forward, body=nn.Linear(4, 4)), torch.randn(2, 4))
    assert only(record, "setitem").kind == "concat"
    assert only(record, "linear").id in only(record, "setitem").inputs
    assert only(record, "tanh").inputs == (only(record, "setitem").id,)


# -- places ------------------------------------------------------------


def test_places_are_unique_and_readable() -> None:
    body = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    record = trace(Wrap(lambda m, x: m.body(m.body(x) + x) * 2 * 3, body=body), torch.randn(2, 4))
    assert [n.place for n in record.graph.nodes] == [
        "input", "body.0", "body.1", "add", "body.0#2", "body.1#2", "mul", "mul#2",
    ]  # fmt: skip


@pytest.mark.parametrize("make", [lambda: nn.TransformerEncoderLayer(8, 2, 16), lambda: nn.LSTM(8, 4, 2)])
def test_signals_and_nodes_agree(make: Callable[[], nn.Module]) -> None:
    record = trace(make(), torch.randn(3, 2, 8))
    places = record.graph.by_place
    assert len(places) == len(record.graph.nodes)
    assert all(places[s.place].id == s.node for s in record.signals)
    assert Trace.from_json(json.loads(json.dumps(record.to_json()))).to_json() == record.to_json()


# -- inputs, outputs, losses ------------------------------------------------------------


@dataclasses.dataclass
class Output:
    logits: torch.Tensor
    loss: torch.Tensor | None = None


LAYOUTS = {
    "vector": ((6, 3), (6,)),
    "tokens": ((2, 5, 3), (2, 5)),
    "pixels": ((2, 3, 4, 5), (2, 4, 5)),
    "square": ((2, 4, 4), (2, 4)),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_cross_entropy_for_integer_targets(layout: str) -> None:
    shape, wanted = LAYOUTS[layout]
    x, target = torch.randn(shape), torch.randint(3, wanted)
    record = trace(Wrap(lambda m, x: x * m.g, g=parameter(1)), x, target)
    logits = x * parameter(1).detach()
    expected = (
        F.cross_entropy(logits, target)
        if layout == "pixels"
        else F.cross_entropy(logits.flatten(0, -2), target.flatten())
    )
    assert record.loss_kind == "cross_entropy"
    assert record.loss == pytest.approx(float(expected), rel=1e-5)


def test_squared_error_for_float_targets() -> None:
    model, x, target = nn.Linear(4, 1), torch.randn(6, 4), torch.randn(6)
    record = trace(model, x, target)
    assert record.loss_kind == "mse"
    assert record.loss == pytest.approx(float(F.mse_loss(model(x)[:, 0], target).detach()), rel=1e-5)


@pytest.mark.parametrize("output", ["dataclass", "dict", "tuple", "nested"])
def test_outputs_of_any_shape(output: str) -> None:
    make = {
        "dataclass": lambda y: Output(y),
        "dict": lambda y: {"extra": y.detach(), "logits": y},
        "tuple": lambda y: (y, None, "text"),
        "nested": lambda y: [{"a": (y,)}],
    }[output]
    model = Wrap(lambda m, x: make(m.body(x)), body=nn.Linear(4, 3))
    record = trace(model, torch.randn(6, 4), torch.randint(3, (6,)))
    assert record.loss_kind == "cross_entropy"
    assert only(record, "linear").id in record.graph.outputs


def test_the_loss_of_the_output_is_used() -> None:
    def forward(m: Any, x: torch.Tensor, labels: torch.Tensor) -> Output:
        logits = m.body(x)
        return Output(logits, F.cross_entropy(logits, labels))

    model = Wrap(forward, body=nn.Linear(4, 3))
    record = trace(model, {"x": torch.randn(6, 4), "labels": torch.randint(3, (6,))})
    assert record.loss is not None
    assert record.loss_kind == "custom"
    assert record.graph.outputs == (only(record, "linear").id,)
    assert record.gradients


def test_without_a_target_the_cotangent_has_length_one() -> None:
    model = Wrap(lambda m, x: (x * m.a, x * m.b), a=parameter(1), b=parameter(1))
    x = torch.randn(64, 8)
    record = trace(model, x)
    assert (record.loss, record.loss_kind) == (None, "cotangent")
    length = sum(record.signals.at(place, "backward").second_moment * x.numel() for place in ("mul", "mul#2"))
    assert length == pytest.approx(1.0, rel=1e-5)


def test_gradients_are_those_of_torch() -> None:
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    x, target = torch.randn(6, 4), torch.randint(3, (6,))
    record = trace(model, x, target)
    expected = torch.autograd.grad(F.cross_entropy(model(x), target), list(model.parameters()))
    for (name, _), gradient in zip(model.named_parameters(), expected):
        assert torch.equal(record.gradients[name], gradient)


REFUSED: dict[str, tuple[Callable[[], tuple[Any, ...]], str]] = {
    "meta parameters": (lambda: (nn.Linear(4, 3, device="meta"), torch.randn(2, 4)), "weight"),
    "lazy parameters": (lambda: (nn.LazyLinear(3), torch.randn(2, 4)), "weight"),
    "empty batch": (lambda: (nn.Linear(4, 3), torch.randn(0, 4)), "empty"),
    "inputs of no kind": (lambda: (nn.Linear(4, 3), 3), "inputs"),
    "no module": (lambda: (torch.relu, torch.randn(2, 4)), "model"),
    "classes out of range": (lambda: (nn.Linear(4, 3), torch.randn(2, 4), torch.tensor([0, 3])), "0 to 2"),
    "target of another shape": (lambda: (nn.Linear(4, 3), torch.randn(2, 4), torch.randn(2, 2)), "target"),
    "one class": (lambda: (nn.Linear(4, 1), torch.randn(2, 4), torch.tensor([0, 0])), "2 classes"),
    "boolean target": (lambda: (nn.Linear(4, 1), torch.randn(2, 4), torch.tensor([True, False])), "bool"),
    "loss without reduction": (
        lambda: (nn.Linear(4, 1), torch.randn(2, 4), torch.randn(2, 1), nn.MSELoss(reduction="none")),
        "one element",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_is_refused_and_why(name: str) -> None:
    make, text = REFUSED[name]
    with pytest.raises(InputError, match=text):
        trace(*make())


# -- unusual runs ------------------------------------------------------------


def test_frozen_models_are_differentiated_by_their_input() -> None:
    record = trace(nn.Linear(4, 3).requires_grad_(False), torch.randn(6, 4))
    assert any("no parameter requires" in note for note in record.notes)
    assert record.gradients == {}
    assert record.signals.at("input", "backward") is not None


def test_frozen_models_on_integers_go_forward_only() -> None:
    record = trace(nn.Embedding(5, 3).requires_grad_(False), torch.tensor([[1, 2]]))
    assert any(note.startswith("no gradient") for note in record.notes)
    assert not record.signals.select("backward")
    assert len(record.signals.select("forward")) == 1


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_no_grad_inside_the_model(context: Callable[[], Any]) -> None:
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        with context():
            x = m.first(x)
        return m.second(x.clone())

    record = trace(Wrap(forward, first=nn.Linear(4, 4), second=nn.Linear(4, 3)), torch.randn(6, 4))
    assert record.signals.at("first") is not None
    assert record.signals.at("first", "backward") is None
    assert "second.weight" in record.gradients


def test_an_output_under_inference_mode_is_noted() -> None:
    @torch.inference_mode()
    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        return m.body(x)

    record = trace(Wrap(forward, body=nn.Linear(4, 3)), torch.randn(6, 4))
    assert record.notes
    assert record.gradients == {}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_is_recorded_once(reentrant: bool) -> None:
    body = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    model = Wrap(
        lambda m, x: m.last(checkpoint(m.body, m.first(x), use_reentrant=reentrant)),
        first=nn.Linear(4, 4), body=body, last=nn.Linear(4, 3),
    )  # fmt: skip
    x, target = torch.randn(6, 4), torch.randint(3, (6,))
    record = trace(model, x, target)
    assert [n.place for n in record.graph.nodes] == ["input", "first", "body.0", "body.1", "last"]
    places = ["first", "body.1", "last"] if reentrant else ["first", "body.0", "body.1", "last"]
    assert all(record.signals.at(place, "backward") is not None for place in places)
    F.cross_entropy(model(x), target).backward()
    for name, weight in model.named_parameters():
        assert torch.allclose(record.gradients[name], weight.grad)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_dtypes(dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(dtype)
    record = trace(model, torch.randn(6, 4, dtype=dtype), torch.randint(3, (6,)))
    assert {n.dtype for n in record.graph.nodes} == {str(dtype).removeprefix("torch.")}
    assert len(record.signals) == 7


def test_autocast_does_not_touch_the_statistics() -> None:
    model, x = nn.Linear(64, 64), torch.randn(32, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        record = trace(model, x)
    assert record.signals.at("input").second_moment == pytest.approx(float(x.double().square().mean()), rel=1e-5)
    assert only(record, "linear").dtype == "bfloat16"


def test_custom_functions_and_foreign_code() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 2

    class Foreign(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(x.detach().numpy() * 2)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
            return grad * 2

    model = Wrap(lambda m, x: m.b(Foreign.apply(Double.apply(m.a(x)))), a=nn.Linear(4, 4), b=nn.Linear(4, 3))
    record = trace(model, torch.randn(6, 4))
    assert ops(record) == ["argument", "linear", "mul", "detach", "foreign", "linear"]
    assert len(record.signals.select("backward")) == 4


def test_attention_is_descended_into() -> None:
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(3, 5, 8)
    for needs, op in ((True, "softmax"), (False, "scaled_dot_product_attention")):
        record = trace(Wrap(lambda m, x, n=needs: m.body(x, x, x, need_weights=n), body=layer.eval()), x)
        assert [u.name for n in record.graph.weight_ops() for u in n.params][::2] == [
            "body.in_proj_weight", "body.out_proj.weight",
        ]  # fmt: skip
        entropy = record.signals.at(only(record, op).place).entropy
        assert entropy is not None
        assert 0.5 < entropy <= 1.0


def test_the_axis_of_the_samples_is_followed() -> None:
    record = trace(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval(), torch.randn(3, 5, 8))
    attention = only(record, "scaled_dot_product_attention")
    assert (attention.shape[0], attention.batch_axis) == (3, 0)
    assert record.graph.nodes[record.graph.outputs[0]].batch_axis == 0
    assert record.graph.batch_size == 3
    assert all(n.shape[n.batch_axis] == 3 for n in record.graph.nodes if n.batch_axis is not None)


def test_bilinear_and_two_inputs() -> None:
    record = trace(nn.Bilinear(3, 4, 5), (torch.randn(2, 3), torch.randn(2, 4)))
    node = only(record, "bilinear")
    assert node.inputs == (0, 1)
    assert [n.place for n in record.graph.nodes] == ["input", "input#2", "bilinear"]


def test_the_graph_alone() -> None:
    record = trace(nn.Linear(4, 3), torch.randn(6, 4), torch.randint(3, (6,)), statistics=False)
    assert ops(record) == ["argument", "linear"]
    assert len(record.signals) == 0
    assert set(record.gradients) == {"weight", "bias"}


def test_a_mask_made_of_integers_is_no_signal() -> None:
    def forward(m: Any, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
        scores = m.a(x) + (1.0 - keep.float()) * -1e9
        return scores.softmax(-1)

    record = trace(Wrap(forward, a=nn.Linear(4, 4)), (torch.randn(6, 4), torch.ones(6, 4).long().tril()))
    assert all(s.max_abs < 100 for s in record.signals)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_models_are_traced_as_they_were_written() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
    record = trace(torch.compile(model), torch.randn(2, 4))
    assert ops(record) == ["argument", "linear", "tanh"]


def test_an_exception_that_the_model_catches_is_its_own_business() -> None:
    class Picky(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError

    def forward(m: Any, x: torch.Tensor) -> torch.Tensor:
        try:
            x = m.picky(x)
        except ValueError:
            x = m.body(x)
        return x * 2

    record = trace(Wrap(forward, picky=Picky(), body=nn.Linear(4, 4)), torch.randn(2, 4))
    assert [n.place for n in record.graph.nodes] == ["input", "body", "mul"]


def test_a_loss_that_is_not_finite_survives_json() -> None:
    record = trace(nn.Linear(4, 3), torch.full((2, 4), torch.inf), torch.tensor([0, 1]))
    again = Trace.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
    assert again.loss is not None
    assert again.loss != again.loss
    assert record.signals.at("input").nonfinite_fraction == 1.0
