"""Denoising autoencoders with tied weights, for matrices and convolutions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from fanin.schemes._greedy_chain import FUNCTIONS
from fanin.schemes._greedy_learner import Learner, Problem
from fanin.schemes._greedy_units import bias_of

if TYPE_CHECKING:
    from fanin.schemes._greedy_chain import Layer

__all__ = ["Denoising", "Options", "function"]


@dataclass(frozen=True)
class Options:
    """How an autoencoder is trained; see the scheme."""

    corruption: float
    noise: str
    lr: float
    optimizer: str


def function(layer: Layer, slope: torch.Tensor | None) -> Callable[[torch.Tensor], torch.Tensor]:
    """The nonlinearity that follows a layer, with the arguments it was called with.

    Raises:
        KeyError: if it is not known.
    """
    call, names = FUNCTIONS[layer.activation]
    arguments = {name: layer.arguments[name] for name in names if layer.arguments.get(name) is not None}
    if slope is not None:
        arguments["weight"] = slope
    return lambda x: call(x, **arguments)


class Denoising(Learner):
    """y = f(W ṽ + b), z = Wᵀ y + a, trained so that z (or σ(z)) is the clean v.

    Args:
        problem: what it is given.
        options: how it is trained.
        slope: the learned slope of the nonlinearity, if it has one.
    """

    def __init__(self, problem: Problem, options: Options, slope: torch.Tensor | None = None) -> None:
        super().__init__(problem)
        self.options, self.call = options, function(problem.layer, slope)
        units, count = problem.units, problem.inputs.count
        self.weight = problem.weight.clone().requires_grad_()
        self.visible_bias = bias_of(units.kind, units.mean, count).requires_grad_()
        given = problem.bias
        self.bias = (torch.zeros_like(self.weight.flatten(1)[:, 0]) if given is None else given).detach().clone()
        trained = [self.weight, self.visible_bias]
        if given is None:
            trained.append(self.bias.requires_grad_())
        if options.optimizer == "adam":
            self.optimizer: torch.optim.Optimizer = torch.optim.Adam(trained, options.lr)
        else:
            momentum = 0.9 if options.optimizer == "momentum" else 0.0
            self.optimizer = torch.optim.SGD(trained, options.lr, momentum=momentum)

    def clean(self, index: torch.Tensor) -> torch.Tensor:
        """The visible units of some samples: (rows, units), or (n, channels, *space)."""
        x, units = self.problem.inputs[index], self.problem.units
        if self.problem.window is None:
            return x.reshape(-1, x.shape[-1]) * units.scale + units.shift
        return x * self._spread(units.scale, x) + self._spread(units.shift, x)

    def corrupted(self, v: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Each unit 0 with the probability given, or with Gaussian noise of the std given."""
        options = self.options
        if options.corruption == 0:
            return v
        if options.noise == "mask":
            kept = torch.rand(v.shape, generator=generator, dtype=v.dtype) >= options.corruption
            return v * kept.to(v.device)
        return v + options.corruption * torch.randn(v.shape, generator=generator, dtype=v.dtype).to(v.device)

    def encoded(self, v: torch.Tensor) -> torch.Tensor:
        """The code: what the network's units are for these inputs."""
        window = self.problem.window
        given = self.problem.bias is not None
        counted = v - self._spread(self.problem.units.shift, v)
        if window is None:
            return self.call(functional.linear(counted if given else v, self.weight, self.bias))
        # Padding is 0 in x, which is the shift in v.
        seen = window.pad(counted)
        seen = seen if given else seen + self._spread(self.problem.units.shift, seen)
        call = _CONV[len(window.size)]
        return self.call(call(seen, self.weight, self.bias, stride=window.stride, dilation=window.dilation))

    def decoded(self, code: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """What comes back of v, before the logistic function where units are Bernoulli."""
        window = self.problem.window
        if window is None:
            return functional.linear(code, self.weight.T, self.visible_bias)
        # Rows at the end that no window reached come back as the bias alone.
        sizes = zip(window.pad(v).shape[2:], window.size, window.stride, window.dilation)
        rest = [(n - d * (k - 1) - 1) % s for n, k, s, d in sizes]
        call, dilation = _TRANSPOSE[len(window.size)], window.dilation
        back = call(code, self.weight, self.visible_bias, window.stride, output_padding=rest, dilation=dilation)
        return window.crop(back)

    def epoch(self, number: int, tick: Callable[[], None]) -> None:
        """See :class:`Learner`."""
        generator = self.problem.generator(f"epoch {number}")
        for index in self.problem.batches(generator):
            v = self.clean(index)
            with torch.enable_grad():
                back = self.decoded(self.encoded(self.corrupted(v, generator)), v)
                if self.problem.units.kind == "bernoulli":
                    loss = functional.binary_cross_entropy_with_logits(back, v, reduction="sum") / len(v)
                else:
                    loss = functional.mse_loss(back, v, reduction="sum") / (2 * len(v))
                self.optimizer.zero_grad()
                loss.backward()
            self.optimizer.step()
            tick()

    def error(self) -> float:
        """See :class:`Learner`."""
        total, entries = 0.0, 0
        with torch.no_grad():
            for index in self.problem.judged().split(self.problem.batch_size):
                v = self.clean(index)
                back = self.decoded(self.encoded(v), v)
                back = torch.sigmoid(back) if self.problem.units.kind == "bernoulli" else back
                total, entries = total + float((back - v).double().square().sum()), entries + v.numel()
        return total / entries

    def remark(self) -> str:
        """See :class:`Learner`."""
        return ""

    def found(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """See :class:`Learner`."""
        return self.folded(self.weight.detach(), self.bias.detach(), 1.0)

    def state(self) -> dict[str, Any]:
        """See :class:`Learner`."""
        parts = [part.detach() for part in (self.weight, self.bias, self.visible_bias)]
        return {"parts": parts, "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """See :class:`Learner`."""
        with torch.no_grad():
            for mine, value in zip((self.weight, self.bias, self.visible_bias), state["parts"], strict=True):
                mine.copy_(value)
        self.optimizer.load_state_dict(state["optimizer"])

    @staticmethod
    def _spread(channels: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return channels.view(-1, *[1] * (like.dim() - 2))


_CONV: dict[int, Callable[..., torch.Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_TRANSPOSE: dict[int, Callable[..., torch.Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}
