"""weight_norm: directions drawn, lengths and biases such that each pre-activation has mean 0 and variance 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Normal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Scheme, filled
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.recipe import Recipe
    from fanin.slots import Slot

__all__ = ["WeightNorm"]


class WeightNorm(Scheme):
    """v ~ N(0, 0.05), g = 1/σ[t] and b = −μ[t]/σ[t] with t = v·x/‖v‖, layer after layer in one forward pass.

    Models that use torch's weight norm (either form) get g and b; of plain weights W = g v/‖v‖ is written, which is
    the same function. Weights inside fused recurrent calls are drawn but not measured.

    Args:
        std: standard deviation of the entries of v; it sets how fast directions turn, not the function.

    Source: Salimans & Kingma, NeurIPS 2016.
    """

    name = "weight_norm"
    title = "each pre-activation to mean 0 and variance 1 on the batch by length and bias, in one forward pass"
    source = "Salimans & Kingma, NeurIPS 2016"
    needs = ("batch",)

    def __init__(self, std: float = 0.05) -> None:
        self.std = number("scheme 'weight_norm'", "std", std, low=0, strict=True)

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if context.model is None:
            raise InputError.of("model", None, "the model, which is run once", "scheme 'weight_norm'")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        return Choice(filled(slot, Normal(std=self.std)), f"direction v ~ N(0, {self.std:g})")

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        from fanin.schemes._normalised import normalised

        return normalised(recipe, context)
