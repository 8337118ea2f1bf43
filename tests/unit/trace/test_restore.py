"""A traced model is bit for bit what it was, whatever its forward does and wherever it raises."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fanin.errors import TraceError
from fanin.trace import trace


class Selfish(nn.Module):
    """Writes to everything it can reach while it runs."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.scale = nn.Parameter(torch.ones(4))
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("replaced", torch.zeros(2))
        self.cache: list[torch.Tensor] = []
        self.ready = False
        self.generator = torch.Generator().manual_seed(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.ready:
            with torch.no_grad():
                self.scale.copy_(1 / x.std(0))
                self.linear.weight.data.clamp_(-0.1, 0.1)
                nn.init.zeros_(self.linear.bias)
            self.ready = True
        self.steps += 1
        self.replaced = torch.ones(3)
        self.cache.append(x)
        self.extra = x
        self.training = not self.training
        noise = torch.rand(x.shape, generator=self.generator)
        return self.linear(x) * self.scale + noise + torch.randn(4) * random.random() * np.random.rand()


class Renormed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, 4, max_norm=0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.embedding(x.abs().long().clamp(max=5)[:, 0])


class Swapped(nn.Module):
    """Points its parameter at other memory."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.weight.data = self.weight.data * 2
        return x @ self.weight


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.first, self.body, self.reentrant = nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Tanh()), reentrant

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return checkpoint(self.body, self.first(x), use_reentrant=self.reentrant)


class Raising(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), Failing())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.body(x)


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.randn(3)
        raise ZeroDivisionError("on purpose")


class _BadBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> torch.Tensor:
        torch.randn(3)
        raise ZeroDivisionError("on purpose")


class RaisingBackward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(_BadBackward.apply(self.linear(x)))


def spectral() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), nn.Tanh())


def weight_normed() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.Tanh())


def batch_normed() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.ReLU(inplace=True))


def mixed_modes() -> nn.Module:
    model = batch_normed()
    model[1].eval()
    return model


def frozen() -> nn.Module:
    return batch_normed().requires_grad_(False)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "batch norm, dropout": batch_normed,
    "modes that differ": mixed_modes,
    "eval": lambda: batch_normed().eval(),
    "frozen": frozen,
    "spectral norm": spectral,
    "weight norm": weight_normed,
    "writes to itself": Selfish,
    "max_norm": Renormed,
    "swaps its memory": Swapped,
    "checkpoint": lambda: Checkpointed(False),
    "reentrant checkpoint": lambda: Checkpointed(True),
    "encoder": lambda: nn.TransformerEncoderLayer(4, 2, 8),
    "raises": Raising,
    "raises in backward": RaisingBackward,
}


def state(model: nn.Module) -> dict[str, Any]:
    """All that must not change, by value; gradients and tensors also by identity."""
    found: dict[str, Any] = {}
    for name, parameter in model.named_parameters():
        found[f"{name} value"] = parameter.detach().clone()
        found[f"{name} memory"] = parameter.data_ptr()
        found[f"{name} grad"] = (id(parameter.grad), parameter.requires_grad)
        found[f"{name} grad value"] = None if parameter.grad is None else parameter.grad.clone()
        found[f"{name} hooks"] = len(parameter._backward_hooks or ())
    for name, buffer in model.named_buffers():
        found[f"{name} buffer"] = (id(buffer), buffer.data_ptr())
        found[f"{name} buffer value"] = buffer.clone()
    for name, module in model.named_modules():
        found[f"{name} attributes"] = {key: id(value) for key, value in vars(module).items()}
        found[f"{name} training"] = module.training
        found[f"{name} hook counts"] = [len(v) for k, v in vars(module).items() if "hooks" in k and v is not None]
        found[f"{name} lists"] = {k: list(map(id, v)) for k, v in vars(module).items() if type(v) is list}
        if isinstance(getattr(module, "generator", None), torch.Generator):
            found[f"{name} generator"] = module.generator.get_state()
    return found | world()


def world() -> dict[str, Any]:
    """Global state."""
    hooks = torch.nn.modules.module
    numpy_state = np.random.get_state()
    return {
        "torch": torch.get_rng_state(),
        "python": random.getstate(),
        "numpy": (numpy_state[0], numpy_state[1].tolist(), *numpy_state[2:]),
        "global hooks": (len(hooks._global_forward_hooks), len(hooks._global_forward_pre_hooks)),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "grad mode": torch.is_grad_enabled(),
        "function modes": torch._C._len_torch_function_stack(),
        "functional": F.has_torch_function is torch.overrides.has_torch_function,
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    changed = list(before.keys() ^ after.keys())
    for key in before.keys() & after.keys():
        old, new = before[key], after[key]
        same = torch.equal(old, new) if isinstance(old, torch.Tensor) else old == new
        if not same:
            changed.append(key)
    return sorted(changed)


def give_grads(model: nn.Module) -> None:
    for index, parameter in enumerate(model.parameters()):
        if index % 2 == 0 and parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 7.0)


@pytest.mark.parametrize("name", MODELS)
def test_everything_is_as_before(name: str) -> None:
    torch.manual_seed(1)
    model = MODELS[name]()
    give_grads(model)
    x = torch.randn(6, 4)
    copy = x.clone()
    before = state(model)
    if name.startswith("raises"):
        with pytest.raises(TraceError) as caught:
            trace(model, x)
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    else:
        trace(model, x)
    assert differences(before, state(model)) == []
    assert torch.equal(x, copy)
    assert not x.requires_grad


@pytest.mark.parametrize("name", ["batch norm, dropout", "writes to itself"])
def test_a_loss_that_raises(name: str) -> None:
    model = MODELS[name]()
    before = state(model)

    def loss(output: torch.Tensor, target: Any) -> torch.Tensor:
        torch.randn(3)
        raise KeyError("on purpose")

    with pytest.raises(TraceError, match="loss") as caught:
        trace(model, torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), loss=loss)
    assert isinstance(caught.value.__cause__, KeyError)
    assert differences(before, state(model)) == []


@pytest.mark.parametrize("name", ["batch norm, dropout", "spectral norm", "writes to itself", "max_norm"])
def test_the_battery_would_notice(name: str) -> None:
    """Negative twin: without the trace's care each of these models does change."""
    model = MODELS[name]()
    x = torch.randn(6, 4)
    before = state(model)
    model(x)
    assert differences(before, state(model)) != []


def test_under_no_grad_and_with_an_error_inside_the_grad_mode_stays() -> None:
    model = nn.Linear(4, 2)
    with torch.no_grad():
        record = trace(model, torch.randn(3, 4))
        assert not torch.is_grad_enabled()
    assert set(record.gradients) == {"weight", "bias"}


def test_the_place_of_an_exception_is_named() -> None:
    with pytest.raises(TraceError, match=r"ZeroDivisionError in 'body\.2'"):
        trace(Raising(), torch.randn(3, 4))


def test_post_accumulate_hooks_do_not_run() -> None:
    """An optimizer fused into backward must not step."""
    for model in (nn.Linear(4, 2), Checkpointed(True)):
        called: list[int] = []
        for parameter in model.parameters():
            parameter.register_post_accumulate_grad_hook(lambda p, called=called: called.append(1))
        trace(model, torch.randn(3, 4))
        assert called == []


def test_the_same_seed_gives_the_same_record() -> None:
    model = batch_normed()
    x = torch.randn(6, 4)
    first, again, other = (trace(model, x, seed=seed) for seed in (0, 0, 1))
    assert first.to_json() == again.to_json()
    assert first.to_json() != other.to_json()


def test_sparse_buffers_are_compared_and_kept() -> None:
    model = torch.nn.Linear(4, 4)
    model.register_buffer("table", torch.eye(4).to_sparse())
    trace(model, torch.randn(3, 4))
    assert model.table.layout is torch.sparse_coo
    assert torch.equal(model.table.to_dense(), torch.eye(4))
