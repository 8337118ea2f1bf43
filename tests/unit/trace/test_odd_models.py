"""Models that do odd but legal things are checked, and everything they touched is put back."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import fanin
from fanin.errors import InputError

Build = Callable[[], tuple[Any, ...]]
MODELS: dict[str, Build] = {}


def model(build: Build) -> Build:
    MODELS[build.__name__] = build
    return build


class Compute(nn.Module):
    def __init__(self, function: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self._function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, *inputs: Any) -> Any:
        return self._function(self, *inputs)


def linear() -> nn.Linear:
    return nn.Linear(8, 8)


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(16, 8), torch.randint(0, 8, (16,))


@model
def writes_into_its_input() -> tuple[Any, ...]:
    return Compute(lambda m, x: m.a(x.mul_(2)), a=linear()), *batch()


@model
def installs_hooks_at_the_first_call() -> tuple[Any, ...]:
    def run(m: Compute, x: Tensor) -> Tensor:
        if not getattr(m, "installed", False):
            m.installed = True
            m.a.register_forward_hook(lambda module, args, out: m.seen.append(out.shape))
        y = m.a(x)
        assert len(m.seen) == 1, "the hook of an earlier run is still there"
        return y

    compute = Compute(run, a=linear())
    compute.seen = []
    return compute, *batch()


@model
def returns_nothing_beside_something() -> tuple[Any, ...]:
    Pair = collections.namedtuple("Pair", "scores extra")
    return Compute(lambda m, x: Pair(m.a(x), (None, None)), a=linear()), *batch()


@model
def runs_backward_inside() -> tuple[Any, ...]:
    def run(m: Compute, x: Tensor) -> Tensor:
        m.a(x).square().mean().backward()
        return m.a(x)

    return Compute(run, a=linear()), *batch()


@model
def steps_its_own_optimizer() -> tuple[Any, ...]:
    a = linear()
    optimizer = torch.optim.SGD(a.parameters(), lr=0.1)

    def run(m: Compute, x: Tensor) -> Tensor:
        optimizer.zero_grad()
        m.a(x).sum().backward()
        optimizer.step()
        return m.a(x)

    return Compute(run, a=a), *batch()


@model
def maps_and_differentiates_functionally() -> tuple[Any, ...]:
    def run(m: Compute, x: Tensor) -> Tensor:
        slope = torch.func.vmap(torch.func.grad(lambda row: m.a(row).square().sum()))(x)
        return m.a(x) + slope

    return Compute(run, a=linear()), *batch()


@model
def is_scripted() -> tuple[Any, ...]:
    return torch.jit.script(nn.Sequential(linear(), nn.ReLU(), linear())), *batch()


@model
def has_sparse_gradients() -> tuple[Any, ...]:
    layers = nn.Sequential(nn.Embedding(20, 8, sparse=True), nn.Flatten(), nn.Linear(32, 8))
    return layers, torch.randint(0, 20, (16, 4)), torch.randint(0, 8, (16,))


@model
def has_weights_of_one_byte() -> tuple[Any, ...]:
    w = nn.Parameter((torch.randn(8, 8) / 3).to(torch.float8_e4m3fn), requires_grad=False)
    return Compute(lambda m, x: m.a(x @ m.w.to(x.dtype)), w=w, a=linear()), *batch()


@model
def takes_nested_tensors() -> tuple[Any, ...]:
    parts = torch.nested.nested_tensor([torch.randn(3, 8), torch.randn(5, 8)], layout=torch.jagged)
    return Compute(lambda m, x: m.a(x).to_padded_tensor(0.0).mean(1), a=linear()), parts, torch.randint(0, 8, (2,))


@model
def hands_on_no_gradient() -> tuple[Any, ...]:
    class Cut(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, y: Tensor) -> Tensor:
            return x + y

        @staticmethod
        def backward(ctx: Any, *grad: Tensor) -> Any:
            return grad[0], None

    return Compute(lambda m, x: Cut.apply(m.a(x), m.b(x)), a=linear(), b=linear()), *batch()


@model
def adds_constants_of_equal_bits() -> tuple[Any, ...]:
    layer = linear()
    nn.init.constant_(layer.weight, 2.8e-44)
    return nn.Sequential(layer, nn.ReLU(), linear()), *batch()


@model
def has_a_loss_that_calls_it_again() -> tuple[Any, ...]:
    net = nn.Sequential(linear(), nn.Tanh(), nn.Linear(8, 1))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        x = torch.ones(4, 8, requires_grad=True)
        (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
        return output.mean() + (slope.norm(dim=1) - 1).square().mean()

    return net, torch.randn(16, 8), torch.zeros(()), loss


def state(module: nn.Module) -> dict[str, Any]:
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in module.modules()]
    return {
        "values": {name: value.detach().clone() for name, value in module.state_dict().items()},
        "gradients": [p.grad is None for p in module.parameters()],
        "attributes": [sorted(m.__dict__) for m in module.modules()],
        "hooks": hooks,
    }


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_an_odd_model_is_checked_twice_and_left_as_it_was(name: str) -> None:
    torch.manual_seed(0)
    arguments = MODELS[name]()
    module, inputs = arguments[:2]
    before, given = state(module), inputs.clone()
    first, second = fanin.check(*arguments), fanin.check(*arguments)
    after = state(module)
    for key in ("gradients", "attributes", "hooks"):
        assert after[key] == before[key], key
    for key, value in before["values"].items():
        assert torch.equal(value.float(), after["values"][key].float()), key
    if inputs.layout is torch.strided:
        assert torch.equal(inputs, given)
    assert [f.code for f in first.findings] == [f.code for f in second.findings]
    assert first.to_json()["loss"] == second.to_json()["loss"]


def test_the_comparison_would_notice() -> None:
    module = linear()
    before = state(module)
    module.register_forward_hook(lambda *_: None)
    assert state(module)["hooks"] != before["hooks"]


def test_fake_tensors_are_refused_by_name() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        module, x = nn.Sequential(linear()), torch.randn(16, 8)
    with pytest.raises(InputError, match=r"0\.weight: got 'a fake tensor of shape \(8, 8\)'"):
        fanin.check(module, x)


def test_losses_inside_a_loss_are_heard_where_they_judge_the_output() -> None:
    torch.manual_seed(0)
    net = Compute(lambda m, x: {"a": m.a(x), "b": m.b(x)}, a=linear(), b=linear())
    x, y = batch()

    def loss(output: dict[str, Tensor], target: Tensor) -> Tensor:
        return (
            F.cross_entropy(output["a"], target)
            + F.nll_loss(F.log_softmax(output["b"], -1), target)  # of other values than the output's
            + F.mse_loss(output["b"][:, :1], output["a"][:, :1].detach())  # drawn to another output, not to a target
            + F.binary_cross_entropy_with_logits(output["b"][:4].clone(), torch.ones(4, 8))
        )

    heard = fanin.trace(net, x, y, loss).judged
    assert [(part.kind, part.output) for part in heard] == [("cross_entropy", 0), ("bce_logits", 1)]


def test_a_long_chain_takes_linear_time_in_lookups() -> None:
    net = nn.Sequential(*[nn.Linear(2, 2) for _ in range(300)])
    graph = fanin.trace(net, torch.randn(2, 2)).graph
    assert graph.uses("7.weight") == tuple((graph.by_place["7"], use) for use in graph.by_place["7"].params[:1])
    assert graph.uses("none") == ()
