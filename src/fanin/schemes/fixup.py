"""fixup: residual networks without normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import HeNormal, Ones, VarianceScaling, Zeros
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import BlockScheme, exact, norms_inside
from fanin.schemes._changes import Change
from fanin.schemes._edits import bare, biases, factors, norms_option, rewire_hint, without_norms

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["Fixup"]


class Fixup(BlockScheme):
    """Head and last map of each branch 0; the other maps of a branch He · L^(−1/(2m−2)), L branches of m maps.

    An update of the network is then of the size of the learning rate, whatever the depth.

    Args:
        norms: what ``fanin.rewire_`` does with norms: "remove", as published, or "keep".

    Source: Zhang, Dauphin & Ma, ICLR 2019.
    """

    name = "fixup"
    title = "residual networks without norms: last map of a branch 0, the others He · L^(−1/(2m−2)), head 0"
    source = "Zhang, Dauphin & Ma, ICLR 2019"

    def __init__(self, norms: str = "remove") -> None:
        self.norms = norms_option(self.name, norms)

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import resnet

        return resnet(norm=False, scalar=True)

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        branch, count = blocks.branch(slot.name), len(blocks.branches)
        if slot.is_head:
            return Choice(Zeros(), "head: 0")
        if branch is None:
            return Choice(filled(slot, HeNormal(mode="fan_out")), f"He: {fan(slot, 'fan_out')}, gain √2")
        if slot.name in branch.ends:
            return Choice(Zeros(), "ends a residual branch: 0, so that the block starts as the identity")
        maps = len(branch.maps)
        shrink = count ** (-1 / (2 * maps - 2)) if maps > 1 else 1.0
        law = VarianceScaling(2 * shrink**2, "fan_out", "normal")
        reason = (
            f"one of {maps} maps in one of {count} residual branches: He, {fan(slot, 'fan_out')}, times "
            f"{count}^(−1/{2 * maps - 2}) = {exact(shrink)}"
        )
        return Choice(filled(slot, law), reason)

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if any(slot.name == branch.multiplier for branch in self.blocks(context).branches):
            return Choice(Ones(), "multiplier of a residual branch: 1")
        return self.weight(slot, context) if slot.role == "weight" else usual(slot)

    def changes(self, context: Context) -> tuple[Change, ...]:
        """Norms left out; a scalar bias before each map and activation, a multiplier and a bias behind each branch."""
        left_out = without_norms(self.name, context) if self.norms == "remove" else ()
        missing = bare(context)
        if not missing:
            return left_out
        before = biases(context)
        behind = factors(self.name, context, missing, "Fixup's multiplier")
        last = [
            Change(
                change.where,
                "output + branch_bias, a learned scalar that is now 0: it follows the multiplier",
                "add",
                {"name": "branch_bias", "value": 0.0, "index": change.arguments["index"]},
            )
            for change in behind
        ]
        return (*left_out, *before, *behind, *last)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        found = ["Fixup needs strong regularization, such as mixup."]
        norms = norms_inside(blocks)
        if norms:
            found.append(
                f"Fixup's forward has no norm: remove the {len(norms)} inside the residual branches, such as "
                f"{next(iter(norms))}. Where they stay they undo the shrunk weights, and what is left of Fixup is "
                f"that branches and head start at 0. {rewire_hint(self.name)}"
            )
        missing = len(bare(context))
        if missing:
            found.append(
                f"{missing} of {len(blocks.branches)} residual branches have no learned multiplier (1) at their end, "
                "and no scalar biases (0) before their maps and activations. "
                f"{rewire_hint(self.name)}"
            )
        return tuple(found)
