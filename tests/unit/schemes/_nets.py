"""Networks on which the data-driven schemes are tried, and what they measure of them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from fanin.schemes import plan
from fanin.schemes._examples import ResNet, Transformer, batch
from fanin.slots import find
from fanin.trace import trace

MAPS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)


class OutOfOrder(nn.Module):
    """Defined in another order than used, an in-place ReLU right after a map, and one map used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.twice, self.first = nn.Linear(12, 3), nn.Linear(12, 12), nn.Linear(5, 12)

    def forward(self, x):
        x = F.relu(self.first(x), inplace=True)
        x = self.twice(torch.tanh(self.twice(x)))
        return self.last(F.relu_(x))


def mlp():
    return nn.Sequential(nn.Linear(6, 40), nn.ReLU(), nn.Linear(40, 20), nn.Tanh(), nn.Linear(20, 4))


def cnn():
    """In-place ReLU, groups, a transposed convolution with groups."""
    maps = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, groups=2), nn.ConvTranspose2d(8, 6, 2, 2, groups=2)]
    body = [layer for each in maps for layer in (each, nn.ReLU(inplace=True))]
    return nn.Sequential(*body, nn.Flatten(), nn.Linear(864, 5))


class InputFirst(nn.Module):
    """A map stored (in, out) that adds its bias first, as the Conv1D of transformers."""

    def __init__(self, before, after):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(before, after)), nn.Parameter(torch.randn(after))

    def forward(self, x):
        return torch.addmm(self.bias, x, self.weight)


IDS = torch.arange(24).reshape(4, 6) % 19

NETS = {
    "mlp": (mlp, batch(64, 6)),
    "cnn": (cnn, batch(16, 3, 8, 8)),
    "resnet": (ResNet, batch(8, 3, 8, 8)),
    "transformer": (lambda: Transformer(2, gated=True), IDS),
    "out_of_order": (OutOfOrder, batch(64, 5)),
}


def planned(scheme, model, x, *, target=None, **options):
    """The plan of a scheme object, with the graph as ``fanin.plan`` would give it."""
    graph = trace(model, x, target, statistics=False).graph
    return plan(scheme, find(model, graph), graph, target=target, model=model, inputs=x, **options)


def first_outputs(model, x, kinds=MAPS):
    """Module → what it returned at its first call, as (values, channels) in float64."""
    found = {}

    def hook(module, _, out):
        if module not in found:
            axis = out.dim() - 1 if isinstance(module, nn.Linear) else 1
            found[module] = out.detach().double().movedim(axis, -1).flatten(0, -2).clone()

    hooks = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for each in hooks:
            each.remove()
    return found


def snapshot(model):
    """All that a run could leave behind."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    grads = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.modules()]
    return state, grads, modes, hooks, torch.get_rng_state()


def same(before, after):
    """Whether two snapshots are equal to the bit."""
    equal = all(torch.equal(value, after[0][key]) for key, value in before[0].items())
    grads = all((a is None) == (b is None) and (a is None or torch.equal(a, b)) for a, b in zip(before[1], after[1]))
    return equal and grads and before[2:4] == after[2:4] and torch.equal(before[4], after[4])
