"""bert: one small Gaussian for every map and embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Normal, TruncatedNormal
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, usual
from fanin.schemes._blocks import TransformerScheme

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["Bert"]


class Bert(TransformerScheme):
    """N(0, std²) on every map and embedding, biases 0, norms 1 and 0; no scaling with depth.

    Args:
        std: 0.02.
        truncated: cut at ±2 standard deviations of the parent, as the original TensorFlow code does.

    Source: Devlin et al., NAACL 2019.
    """

    name = "bert"
    title = "N(0, 0.02²) on every map and embedding, biases 0"
    source = "Devlin et al. (BERT), NAACL 2019"

    def __init__(self, std: float = 0.02, truncated: bool = False) -> None:
        if not isinstance(truncated, bool):
            raise InputError.of("truncated", truncated, "True or False", "scheme 'bert'")
        std = number("scheme 'bert'", "std", std, low=0)
        self.one = TruncatedNormal.of_parent(std) if truncated else Normal(std=std)
        self.words = f"{std:g}, cut at ±2σ" if truncated else f"N(0, {std:g}²)"

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        return Choice(self.one, self.words)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role in ("embedding", "token"):
            return Choice(self.one, f"embedding: {self.words}")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)
