"""prior_bias: the sigmoid head alone, at the share of positives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Normal, PriorBias
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Keep, Scheme

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["Prior"]


class Prior(Scheme):
    """Head weight N(0, std²) and head bias log(π/(1−π)); all else is kept.

    With bias 0 the many negatives of a dense detector dominate its first loss.

    Args:
        prior: π, the share of positives, in (0, 1).
        std: of the head's weight.

    Source: Lin et al. (focal loss), ICCV 2017.
    """

    name = "prior_bias"
    title = "a sigmoid head with rare positives alone: weight N(0, 0.01²), bias log(π/(1−π)); all else is kept"
    source = "Lin et al. (focal loss), ICCV 2017"
    looks_for = "a head (a map whose output leaves the network) with a bias"

    def __init__(self, prior: float = 0.01, std: float = 0.01) -> None:
        if not 0 < number("scheme 'prior_bias'", "prior", prior) < 1:
            raise InputError.of("prior", prior, "a share strictly between 0 and 1", "scheme 'prior_bias'")
        self.law = PriorBias(prior)
        self.std = number("scheme 'prior_bias'", "std", std, low=0)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import classifier

        return classifier()

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not any(slot.role == "bias" and self._of_head(slot, context) for slot in context.slots.values()):
            heads = [slot for slot in context.slots.values() if slot.role == "weight" and slot.is_head]
            raise self.missing("a head without a bias" if heads else "none" + self.hint(context))

    @staticmethod
    def _of_head(slot: Slot, context: Context) -> bool:
        weight = slot if slot.role == "weight" else context.weight_of(slot)
        return weight is not None and weight.role == "weight" and weight.is_head

    def weight(self, slot: Slot, context: Context) -> Choice | Keep:
        """See :class:`Scheme`."""
        if slot.is_head:
            return Choice(Normal(std=self.std), f"head: N(0, {self.std:g}²), small, so that the prior holds")
        return Keep("this scheme writes the head alone")

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.role == "weight":
            return self.weight(slot, context)
        if slot.role == "bias" and self._of_head(slot, context):
            return Choice(self.law, f"bias of the head: log(π/(1−π)), π = {self.law.config['probability']:g}")
        return Keep("this scheme writes the head alone")
