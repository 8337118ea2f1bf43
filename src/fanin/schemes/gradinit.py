"""gradinit: one factor for each tensor, learned so that the first step of the optimizer reduces the loss most."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fanin.errors import InputError
from fanin.initializers._base import choice, number, whole
from fanin.schemes._learned import Learned, Scaled, learning, rescaled, steps
from fanin.schemes._minibatches import overlapping

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fanin.data import Batch
    from fanin.recipe import Recipe
    from fanin.schemes._base import Context, Example, Scheme
    from fanin.schemes._learned import Loss

__all__ = ["GradInit"]

FLOOR = 0.01
"""Smallest factor (Zhu et al., 2021; ``gradinit_min_scale`` of github.com/zhuchen03/gradinit)."""


@dataclass(frozen=True)
class _Settings:
    """Defaults for one optimizer, those of github.com/zhuchen03/gradinit.

    Args:
        lr: step of a factor.
        eta: step of the optimizer that is looked ahead.
        gamma: bound on the gradient's norm.
        iterations: steps.
        betas: decay of the averages of Adam on the factors.
        clip: bound on the derivative with respect to one factor.
        p: order of the norm.
    """

    lr: float
    eta: float
    gamma: float
    iterations: int
    betas: tuple[float, float]
    clip: float
    p: int


_DEFAULTS = {
    # train_cifar.py; gamma and the normalized gradient from launch/run_gradinit.sh
    "sgd": _Settings(1e-3, 0.1, 1.0, 390, (0.9, 0.999), 1.0, 2),
    # fairseq/gradinit/launch/run_iwslt_14_gradinit_no_clipping.sh; gamma from dataclass/configs.py
    "adam": _Settings(2.5e-3, 1e-3, 1000.0, 780, (0.9, 0.98), math.inf, 1),
}


class GradInit(Learned):
    """Keep the directions of ``base``; learn a factor m ≥ 0.01 for each tensor: min L(S̃; θ − η A[g]), ‖g‖ₚ ≤ γ.

    θ = m · W, g = ∇L(S; θ). For SGD p = 2 and A[g] = g/‖g‖₂ (``normalize=False``: g); for Adam p = 1 and A[g] = sign g,
    its first step. Where the norm exceeds γ, a step of Adam on m reduces the norm, else one reduces the loss after the
    step; S and S̃ share half of their samples. All tensors are rescaled that are not 0: weights, embeddings, gains of
    norms, biases that are not 0. No dropout; batch norm uses the batch. γ bounds the first-order decrease of a step by
    η γ, and ‖g‖₁ grows with the number of parameters: for a small model under Adam pass less than the default. Time is
    about two forward and backward passes a step, and a second derivative where the norm is too large.

    Args:
        base: the scheme (or its name) that draws the directions.
        optimizer: "sgd" or "adam": what the model will be trained with.
        iterations: steps; 390 for sgd, 780 for adam.
        lr: step of a factor; 0.001 for sgd, 0.0025 for adam. (Their CIFAR runs tune it from 0.001 to 0.1.)
        eta: η, step of the optimizer; 0.1 for sgd, 0.001 for adam.
        gamma: γ, bound on the gradient's norm; 1 for sgd, 1000 for adam; ``inf`` for none.
        normalize: False takes A[g] = g for sgd.
        batch_size: samples of S; the batch given is cut into such.
        batches: iterable of (x, y) such as a DataLoader instead of cutting the one batch; two thirds of each are S.
        loss: ``loss(output, target)``; default cross-entropy for integer targets, mean squared error for floats.
        progress: show a bar; by default on a terminal.

    Source: Zhu, Ni, Xu, Kong, Huang & Goldstein, NeurIPS 2021.
    """

    name = "gradinit"
    title = "a factor for each tensor, learned so that the optimizer's first step reduces the loss most"
    source = "Zhu, Ni, Xu, Kong, Huang & Goldstein, NeurIPS 2021"
    needs = ("batch",)

    def __init__(
        self,
        base: str | Scheme = "he",
        optimizer: str = "sgd",
        iterations: int | None = None,
        lr: float | None = None,
        eta: float | None = None,
        gamma: float | None = None,
        normalize: bool = True,
        batch_size: int = 128,
        batches: Iterable[Any] | None = None,
        loss: Loss | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(base, loss, progress)
        owner = "scheme 'gradinit'"
        self.optimizer = choice(owner, "optimizer", optimizer, tuple(_DEFAULTS))
        usual = _DEFAULTS[self.optimizer]
        bound = usual.gamma if gamma is None else gamma
        self.settings = replace(
            usual,
            iterations=usual.iterations if iterations is None else whole(owner, "iterations", iterations, low=1),
            lr=usual.lr if lr is None else number(owner, "lr", lr, low=0, strict=True),
            eta=usual.eta if eta is None else number(owner, "eta", eta, low=0, strict=True),
            gamma=math.inf if bound == math.inf else number(owner, "gamma", bound, low=0, strict=True),
        )
        if not isinstance(normalize, bool):
            raise InputError.of("normalize", normalize, "True or False", owner)
        if batches is not None and (isinstance(batches, (torch.Tensor, Mapping)) or not isinstance(batches, Iterable)):
            raise InputError.of("batches", type(batches).__name__, "an iterable of (x, y), or None", owner)
        self.normalize, self.batches = normalize, batches
        self.batch_size = whole(owner, "batch_size", batch_size, low=1)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`; in float64, so that the table in the docs is the same on every machine."""
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.LayerNorm(8), nn.Linear(8, 3)).double()
        return model, torch.linspace(-1, 1, 72, dtype=torch.float64).reshape(12, 6), torch.arange(12) % 3

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        recipe, model = self.base.finish(recipe, context), context.model
        assert model is not None
        with learning(model, context.seed, (context.inputs, context.target)):
            scaled = Scaled("scheme 'gradinit'", model, recipe, context.seed, lambda _: True, self.loss)
            pairs = overlapping(model, context.inputs, context.target, self.batches, self.batch_size, context.seed)
            factors, met = self._learn(scaled, pairs)
        return rescaled(recipe, scaled, factors, self.name, context.seed, [self._told(met)])

    def _learn(self, scaled: Scaled, pairs: Iterator[tuple[Batch, Batch]]) -> tuple[list[float], list[_Met]]:
        """Factors, and what each step met."""
        factors = torch.ones(len(scaled.names), dtype=torch.float64)
        descents = {kind: _Adam(self.settings, factors) for kind in ("norm", "loss")}
        met = []
        with steps(self.settings.iterations, "GradInit", self.progress) as count:
            for _, (first, second) in zip(count, pairs):
                leaf = factors.clone().requires_grad_()
                weights = scaled.weights(leaf)
                value = scaled.loss(weights, first)
                gradients = scaled.gradients(value, weights)
                norm = self._norm(gradients)
                if norm > self.settings.gamma:
                    # Only now is the second derivative needed.
                    gradients = scaled.gradients(value, weights, twice=True)
                    goal, after = self._norm(gradients), None
                    kind = "norm"
                else:
                    after = scaled.loss(self._stepped(weights, gradients, norm), second)
                    goal, kind = after / self.settings.eta, "loss"
                slope = scaled.slope(goal, leaf, "gradient's norm" if after is None else "loss after the step")
                met.append(_Met(float(value.detach()), float(norm), None if after is None else float(after.detach())))
                factors = descents[kind].step(factors, slope)
        return factors.tolist(), met

    def _norm(self, gradients: Mapping[str, torch.Tensor]) -> torch.Tensor:
        if self.settings.p == 1:
            return torch.stack([gradient.abs().sum() for gradient in gradients.values()]).sum()
        return torch.stack([gradient.square().sum() for gradient in gradients.values()]).sum().sqrt()

    def _stepped(
        self, weights: Mapping[str, torch.Tensor], gradients: Mapping[str, torch.Tensor], norm: torch.Tensor
    ) -> dict[str, torch.Tensor]:
        """θ − η A[g], with g held constant."""
        if self.optimizer == "adam":
            moves = {name: gradient.sign() for name, gradient in gradients.items()}
        else:
            scale = 1 / norm.clamp(min=torch.finfo(norm.dtype).tiny) if self.normalize else 1.0
            moves = {name: gradient * scale for name, gradient in gradients.items()}
        return {
            name: weight - self.settings.eta * moves[name] if name in moves else weight
            for name, weight in weights.items()
        }

    def _told(self, met: list[_Met]) -> str:
        after = [entry.after for entry in met if entry.after is not None]
        over = len(met) - len(after)
        norms = f"norm of the gradient (p = {self.settings.p}) {met[0].norm:.4g} → {met[-1].norm:.4g}"
        step = f"a step of {self.optimizer}, η = {self.settings.eta:g}"
        if not after:
            return f"The {norms} never fell to γ = {self.settings.gamma:g}: raise gamma, lr or iterations."
        return (
            f"Loss after {step}: {after[0]:.4g} → {after[-1]:.4g}; {norms}, above γ = {self.settings.gamma:g} in "
            f"{over} of {len(met)} iterations."
        )


@dataclass(frozen=True)
class _Met:
    """Loss before the step, norm of its gradient, and loss after the step where one was taken."""

    loss: float
    norm: float
    after: float | None


class _Adam:
    """Adam on the factors; the bound and the loss have averages of their own, as in the authors' RescaleAdam."""

    def __init__(self, settings: _Settings, like: torch.Tensor) -> None:
        self.settings, self.count = settings, itertools.count(1)
        self.mean, self.square = torch.zeros_like(like), torch.zeros_like(like)

    def step(self, factors: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """The factors after one step, at least FLOOR."""
        first, second = self.settings.betas
        t = next(self.count)
        slope = slope.clamp(-self.settings.clip, self.settings.clip)
        self.mean = first * self.mean + (1 - first) * slope
        self.square = second * self.square + (1 - second) * slope**2
        size = (self.square / (1 - second**t)).sqrt() + 1e-8  # eps of Adam (Kingma & Ba, 2015)
        return (factors - self.settings.lr * self.mean / (1 - first**t) / size).clamp(min=FLOOR)
