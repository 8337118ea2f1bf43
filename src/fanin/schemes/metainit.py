"""metainit: norms of the weights tuned until a gradient step meets as little curvature as possible."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from fanin.data import Batch
from fanin.fans import elementwise
from fanin.initializers import Normal
from fanin.initializers._base import choice, number, whole
from fanin.keys import Key
from fanin.materialize._tensor import put
from fanin.schemes._learned import Learned, Scaled, learning, rescaled, steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fanin.recipe import Recipe
    from fanin.schemes._base import Context, Example, Scheme
    from fanin.schemes._learned import Loss

__all__ = ["MetaInit", "gradient_quotient"]

EPSILON = 1e-5
"""Keeps the quotient finite where the gradient is 0 (the code in the appendix of Dauphin & Schoenholz, 2019)."""

FLOOR = 0.01
"""Smallest factor, where a step would turn a short tensor around; the bound is GradInit's (Zhu et al., 2021)."""


class MetaInit(Learned):
    """Keep the directions of ``base``; tune the norm of each tensor of two or more axes to a small gradient quotient.

    The quotient is the mean over all parameters of |(g − Hg)/(g + ε sgn g) − 1|, g the gradient and H the Hessian, so
    about the relative change of the gradient over one step: 0 where the loss is locally linear. Each step draws inputs
    N(0, 1) of the batch's shape (the batch itself where it is not a single float tensor) and targets at random, and
    moves every norm by sign descent with momentum. No dropout; batch norm uses the batch; a loss of your own sees the
    batch's targets. With three derivatives in a row, a step takes about ten times as long as a step of
    training, and five to six times its memory.

    Args:
        base: the scheme (or its name) that draws the directions.
        iterations: steps; 500 as published.
        lr: length of a step of a norm, in the unit of the norm (a He matrix n × n has norm √(2n)); 0.1 as published.
        momentum: 0.9 as published.
        data: "noise", or "batch" for the batch and its targets as they are.
        loss: ``loss(output, target)``; default cross-entropy for integer targets, mean squared error for floats, a
            random direction of the outputs without targets.
        progress: show a bar; by default on a terminal.

    Source: Dauphin & Schoenholz, NeurIPS 2019 (the code of its appendix).
    """

    name = "metainit"
    title = "norms of the weights tuned until the gradient changes least along itself"
    source = "Dauphin & Schoenholz, NeurIPS 2019"
    needs = ("batch",)

    def __init__(
        self,
        base: str | Scheme = "he",
        iterations: int = 500,
        lr: float = 0.1,
        momentum: float = 0.9,
        data: str = "noise",
        loss: Loss | None = None,
        progress: bool | None = None,
    ) -> None:
        super().__init__(base, loss, progress)
        owner = "scheme 'metainit'"
        self.iterations = whole(owner, "iterations", iterations, low=1)
        self.lr = number(owner, "lr", lr, low=0, strict=True)
        self.momentum = number(owner, "momentum", momentum, low=0, high=1)
        self.data = choice(owner, "data", data, ("noise", "batch"))

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`; in float64, so that signs of small slopes are the same on every machine."""
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 3)).double()
        return model, torch.linspace(-1, 1, 72, dtype=torch.float64).reshape(12, 6), torch.arange(12) % 3

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        recipe, model = self.base.finish(recipe, context), context.model
        assert model is not None
        batch = Batch(context.inputs, context.target)
        with learning(model, context.seed, (batch.inputs, batch.target)):
            scaled = Scaled("scheme 'metainit'", model, recipe, context.seed, lambda shape: len(shape) > 1, self.loss)
            factors, quotients = self._tune(scaled, batch, context.seed)
        tail = quotients[-10:]
        first, last = quotients[0], sum(tail) / len(tail)
        where = "on noise" if self._noisy(batch) else "on the inputs given"
        told = f"Gradient quotient {first:.3g} → {last:.3g} in {self.iterations} steps {where}"
        told += " (it did not fall: try a smaller lr)." if last >= first else "."
        return rescaled(recipe, scaled, factors, self.name, context.seed, [told])

    def _tune(self, scaled: Scaled, batch: Batch, seed: int) -> tuple[list[float], list[float]]:
        """Factors, and the quotient met at each step."""
        norms = torch.tensor(list(scaled.norms.values()), dtype=torch.float64)
        factors, speed = torch.ones_like(norms), torch.zeros_like(norms)
        quotients = []
        with steps(self.iterations, "MetaInit", self.progress) as count:
            for step in count:
                key = Key(seed, f"metainit step {step}")
                leaf = factors.clone().requires_grad_()
                quotient = self._quotient(scaled, scaled.weights(leaf), batch, key)
                quotients.append(float(quotient.detach()))
                if quotient.requires_grad:
                    slope = scaled.slope(quotient, leaf, "gradient quotient")
                    speed = self.momentum * speed - self.lr * slope.sign()
                    factors = (factors + speed / norms).clamp(min=FLOOR)
        return factors.tolist(), quotients

    def _noisy(self, batch: Batch) -> bool:
        return self.data == "noise" and isinstance(batch.inputs, torch.Tensor) and batch.inputs.is_floating_point()

    def _quotient(self, scaled: Scaled, weights: Mapping[str, torch.Tensor], batch: Batch, key: Key) -> torch.Tensor:
        """The quotient at these weights, on the data of one step."""
        random = torch.Generator().manual_seed(key.number)
        if self._noisy(batch):
            noise = torch.empty_like(batch.inputs, requires_grad=False, memory_format=torch.contiguous_format)
            put(noise, Normal(std=1.0), key, elementwise(tuple(noise.shape)))
            batch = Batch(noise, batch.target)
        anew = self.data == "noise" or batch.target is None
        value = scaled.loss(weights, batch, random=random if anew else None)
        gradients = scaled.gradients(value, weights, twice=True)
        half = torch.stack([(gradient * gradient).sum() / 2 for gradient in gradients.values()]).sum()
        # A loss that is linear in all parameters has no curvature.
        products = scaled.gradients(half, weights, twice=True) if half.requires_grad else {}
        pairs = [(g, products.get(name, torch.zeros_like(g))) for name, g in gradients.items()]
        return gradient_quotient(*zip(*pairs))


def gradient_quotient(gradients: Sequence[torch.Tensor], products: Sequence[torch.Tensor]) -> torch.Tensor:
    """Mean over all entries of |(g − Hg)/(g + ε sgn g) − 1|, with sgn 0 = 1 and ε = 1e-5.

    Args:
        gradients: g, one tensor for each parameter.
        products: Hessian times g, of the same shapes.

    Returns:
        A scalar; about the mean of |Hg/g|, and 1 for entries with g = Hg = 0.

    Example:
        >>> g = torch.tensor([1.0, -2.0])
        >>> round(float(gradient_quotient([g], [0.5 * g])), 3)
        0.5

    Source: Dauphin & Schoenholz, 2019, eq. 1.
    """
    total = torch.zeros((), dtype=gradients[0].dtype, device=gradients[0].device)
    for g, product in zip(gradients, products, strict=True):
        away = g + EPSILON * torch.where(g >= 0, 1.0, -1.0)
        total = total + ((g - product) / away - 1).abs().sum().to(total)
    return total / sum(g.numel() for g in gradients)
