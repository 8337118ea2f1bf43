"""vit: vision transformers as timm or as the JAX original starts them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Constant, GlorotUniform, LecunNormal, Normal, VarianceScaling, Zeros
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import TransformerScheme
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["ViT"]

STD, TOKEN_STD, BIAS_STD = 0.02, 1e-6, 1e-6
"""timm's maps and positions; timm's class token; biases of the feed-forward maps in the JAX code."""


class ViT(TransformerScheme):
    """timm: maps N(0, 0.02²), biases 0, patch convolution as torch draws it, one single token N(0, 1e-6²).

    JAX: maps Glorot-uniform, feed-forward biases N(0, 1e-6²), patches LeCun-normal, head 0 with bias ``head_bias``.

    Args:
        style: "timm" or "jax".
        head_bias: bias of the head in the JAX style; −ln K gives sigmoid heads of K classes their prior.

    Source: Dosovitskiy et al., ICLR 2021; Wightman (timm), 2019.
    """

    name = "vit"
    title = "vision transformers: timm (N(0, 0.02²)) or style='jax' (Glorot, zero head, LeCun patches)"
    source = "Dosovitskiy et al., ICLR 2021; Wightman (timm), 2019"

    def __init__(self, style: str = "timm", head_bias: float = 0.0) -> None:
        if style not in ("timm", "jax"):
            raise InputError.of("style", style, "'timm' or 'jax'", "scheme 'vit'")
        self.jax = style == "jax"
        self.head_bias = number("scheme 'vit'", "head_bias", head_bias)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer()

    def weight(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        if slot.fans is not None and slot.fans.window_axes:
            law = LecunNormal("truncated_normal") if self.jax else VarianceScaling(1 / 3, "fan_in", "uniform")
            words = "LeCun" if self.jax else "as torch draws it, U(±1/√fan_in)"
            return Choice(filled(slot, law), f"convolution of the patches: {words}, {fan(slot)}")
        return super().weight(slot, context)

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        if not self.jax:
            return Choice(Normal(std=STD), f"N(0, {STD:g}²)")
        if role == "head":
            return Choice(Zeros(), "head: 0")
        return Choice(filled(slot, GlorotUniform()), f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role in ("token", "embedding"):
            return self._token(slot)
        if slot.role == "bias" and self.jax:
            weight = context.weight_of(slot)
            role = self.blocks(context).role(weight) if weight is not None and weight.role == "weight" else ""
            if role == "head":
                return Choice(Constant(self.head_bias), f"bias of the head: {self.head_bias:g}")
            if role in ("fc1", "fc2", "gate", "up"):
                return Choice(Normal(std=BIAS_STD), f"bias of a feed-forward map: N(0, ({BIAS_STD:g})²)")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def _token(self, slot: Slot) -> Choice:
        if math.prod(slot.shape[:-1]) == 1:  # a single vector: the class token
            if self.jax:
                return Choice(Zeros(), "class token: 0")
            return Choice(Normal(std=TOKEN_STD), f"class token: N(0, ({TOKEN_STD:g})²)")
        return Choice(Normal(std=STD), f"positions and tables: N(0, {STD:g}²)")
