"""torch: what torch's own constructors would draw, layer by layer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.initializers import GlorotUniform, Normal, Uniform, Zeros
from fanin.schemes._base import Choice, Context, Keep, Scheme, usual

if TYPE_CHECKING:
    from fanin.initializers import Initializer
    from fanin.slots import Slot

__all__ = ["TorchDefault"]

_ATTENTION_OUT = "NonDynamicallyQuantizableLinear"  # class of MultiheadAttention.out_proj, whose bias it zeroes


class TorchDefault(Scheme):
    """The distribution that each torch layer's own ``reset_parameters`` draws, its faults included.

    Linear and convolutions: U(±1/√fan_in) for weight and bias, with the fan that torch reads off the shape (of a
    transposed convolution that is the fan_out). Recurrent layers: U(±1/√hidden). Embeddings: N(0, 1). Attention:
    Glorot over the packed tensor. Norms: 1 and 0.

    Source: torch.nn.modules; the bound is LeCun, Bottou, Orr & Müller, 1998, through kaiming_uniform_(a=√5).
    """

    name = "torch"
    title = "exactly what torch's own constructors draw, layer by layer"
    source = "torch.nn.modules (U(±1/√fan_in) after LeCun et al., 1998)"

    def weight(self, slot: Slot, context: Context) -> Choice | Keep:
        """See :class:`Scheme`."""
        if slot.kind == "conv1d_transformers":
            return Choice(Normal(std=0.02), "transformers' Conv1D draws N(0, 0.02)")
        if slot.kind == "attention":
            law: Initializer = GlorotUniform()
            if slot.parts:
                law, why = _over_the_stack(slot), "torch's MultiheadAttention: Glorot over q, k, v as one matrix"
            else:
                why = "torch's MultiheadAttention: Glorot"
            return Choice(law, why)
        bound = _bound(slot)
        if bound is None:
            return _own(slot)
        return Choice(_uniform(bound), f"torch's {slot.owner_type}: U(±{bound:.4g})")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "weight":
            return self.weight(slot, context)
        if slot.kind in ("traced", "unknown"):
            return _own(slot)
        if slot.role == "embedding":
            return Choice(Normal(std=1.0), "torch's Embedding: N(0, 1)")
        if slot.role == "token":
            # xavier_normal_ reads fan_in = fan_out = width off the shape (1, 1, width).
            std = 1 / math.sqrt(slot.shape[-1])
            return Choice(Normal(std=std), "torch's MultiheadAttention: Glorot on bias_k and bias_v")
        if slot.role != "bias":
            return usual(slot)
        if slot.kind in ("attention", "conv1d_transformers") or slot.owner_type == _ATTENTION_OUT:
            return Choice(Zeros(), f"{slot.owner_type}: 0")
        weight = slot if slot.kind == "recurrent" else context.weight_of(slot)
        bound = _bound(weight) if weight is not None else None
        if bound is None:
            return _own(slot)
        return Choice(_uniform(bound), f"torch's {slot.owner_type}: U(±{bound:.4g})")


def _own(slot: Slot) -> Keep:
    return Keep(f"torch has no default for a parameter of {slot.owner_type}: its own constructor's value stands")


def _uniform(bound: float) -> Initializer:
    return Uniform(-bound, bound) if bound else Zeros()


def _bound(slot: Slot) -> float | None:
    """Bound of the uniform law that torch draws, from the shape as torch reads it."""
    if slot.kind in ("linear", "conv", "conv_transpose"):
        entries = math.prod(slot.shape[1:])
        return 1 / math.sqrt(entries) if entries else 0.0
    if slot.kind == "bilinear":
        return 1 / math.sqrt(slot.shape[1])
    if slot.kind == "recurrent":
        hidden = int(slot.settings.get("hidden", slot.shape[-1]))
        return 1 / math.sqrt(hidden) if hidden else 0.0
    return None


def _over_the_stack(slot: Slot) -> Initializer:
    bound = math.sqrt(6 / (slot.shape[0] + slot.shape[1]))
    return Uniform(-bound, bound)
