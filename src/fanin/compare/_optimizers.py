"""Optimizers by name: torch's own for one model, and the same rule over a stack of models with a rate each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from fanin._registry import Registry
from fanin.errors import InputError

__all__ = ["OPTIMIZERS", "MakeOptimizer", "Optimizer", "make_optimizer", "rate"]

MakeOptimizer = Callable[[Any, float], torch.optim.Optimizer]
State = list[torch.Tensor]


def _half_decades(low: int, high: int) -> tuple[float, ...]:
    """10^low, 3·10^low, 10^(low+1), …, 3·10^high."""
    return tuple(float(f"{digit}e{power}") for power in range(low, high + 1) for digit in (1, 3))


@dataclass(frozen=True)
class Optimizer:
    """One rule of descent.

    Args:
        make: torch's optimizer for ``(parameters, lr)``.
        step: the same update of a stack: ``step(value, grad, lr, state, t)`` changes ``value`` (runs, …) in place;
            ``lr`` broadcasts over it, ``state`` is an empty list at t = 1 and belongs to this tensor.
        rates: default grid of learning rates: half decades around the usual ones.
    """

    make: MakeOptimizer
    step: Callable[[torch.Tensor, torch.Tensor, torch.Tensor, State, int], None]
    rates: tuple[float, ...] = field(default=())


def _sgd(value: torch.Tensor, grad: torch.Tensor, lr: torch.Tensor, state: State, t: int) -> None:
    value.addcmul_(grad, lr, value=-1)


def _momentum(value: torch.Tensor, grad: torch.Tensor, lr: torch.Tensor, state: State, t: int) -> None:
    if not state:
        state.append(grad.clone())
    else:
        state[0].mul_(0.9).add_(grad)
    value.addcmul_(state[0], lr, value=-1)


def _adam(value: torch.Tensor, grad: torch.Tensor, lr: torch.Tensor, state: State, t: int) -> None:
    """Kingma & Ba (2015) with torch's constants: β = (0.9, 0.999), ε = 1e-8."""
    if not state:
        state += [torch.zeros_like(value), torch.zeros_like(value)]
    mean, square = state
    mean.lerp_(grad, 1 - 0.9)
    square.mul_(0.999).addcmul_(grad, grad, value=1 - 0.999)
    scale = (square.sqrt() / math.sqrt(1 - 0.999**t)).add_(1e-8)
    value.addcmul_(mean / scale, lr, value=-1 / (1 - 0.9**t))


def _adamw(value: torch.Tensor, grad: torch.Tensor, lr: torch.Tensor, state: State, t: int) -> None:
    """Loshchilov & Hutter (2019) with torch's default decay of 0.01."""
    value.mul_(1 - 0.01 * lr)
    _adam(value, grad, lr, state, t)


def _rmsprop(value: torch.Tensor, grad: torch.Tensor, lr: torch.Tensor, state: State, t: int) -> None:
    """Tieleman & Hinton (2012) with torch's constants: α = 0.99, ε = 1e-8."""
    if not state:
        state.append(torch.zeros_like(value))
    state[0].mul_(0.99).addcmul_(grad, grad, value=1 - 0.99)
    value.addcmul_(grad / state[0].sqrt().add_(1e-8), lr, value=-1)


OPTIMIZERS: Registry[Optimizer] = Registry("optimizer")
OPTIMIZERS.add("sgd", Optimizer(lambda p, lr: torch.optim.SGD(p, lr=lr), _sgd, _half_decades(-3, 0)))
OPTIMIZERS.add(
    "momentum", Optimizer(lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9), _momentum, _half_decades(-4, -1))
)
OPTIMIZERS.add("adam", Optimizer(lambda p, lr: torch.optim.Adam(p, lr=lr), _adam, _half_decades(-5, -2)))
OPTIMIZERS.add("adamw", Optimizer(lambda p, lr: torch.optim.AdamW(p, lr=lr), _adamw, _half_decades(-5, -2)))
OPTIMIZERS.add("rmsprop", Optimizer(lambda p, lr: torch.optim.RMSprop(p, lr=lr), _rmsprop, _half_decades(-5, -2)))


def rate(value: Any, name: str = "lr") -> float:
    """A learning rate that can be used.

    Raises:
        InputError: unless it is a finite number > 0.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise InputError.of(name, value, "a finite number > 0")
    return float(value)


def known_optimizer(choice: str | MakeOptimizer) -> None:
    """Raise unless ``choice`` is a registered name or a callable."""
    if isinstance(choice, str):
        if choice not in OPTIMIZERS:
            raise InputError.of("optimizer", choice, f"{', '.join(OPTIMIZERS)}, or make(parameters, lr)")
    elif not callable(choice):
        raise InputError.of("optimizer", choice, f"{', '.join(OPTIMIZERS)}, or make(parameters, lr)")


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter], choice: str | MakeOptimizer, lr: float
) -> torch.optim.Optimizer:
    """torch's optimizer over the trainable ones among ``parameters``."""
    lr = rate(lr)
    known_optimizer(choice)
    trainable = [parameter for parameter in parameters if parameter.requires_grad]
    if not trainable:
        raise InputError.of("model", "no trainable parameter", "at least one")
    return (OPTIMIZERS[choice].make if isinstance(choice, str) else choice)(trainable, lr)
