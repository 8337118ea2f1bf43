"""fixup: residual networks without normalization."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import HeNormal, Ones, VarianceScaling, Zeros
from fanin.schemes._base import Choice, Context, Keep, fan, filled, usual
from fanin.schemes._blocks import BlockScheme, exact, norms_inside

if TYPE_CHECKING:
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["Fixup"]


class Fixup(BlockScheme):
    """Head and last map of each branch 0; the other maps of a branch He · L^(−1/(2m−2)), L branches of m maps.

    An update of the network is then of the size of the learning rate, whatever the depth.

    Source: Zhang, Dauphin & Ma, ICLR 2019.
    """

    name = "fixup"
    title = "residual networks without norms: last map of a branch 0, the others He · L^(−1/(2m−2)), head 0"
    source = "Zhang, Dauphin & Ma, ICLR 2019"

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

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        found = [
            "Fixup's forward has no norm; a learned scalar bias (0) stands before each map and each activation, and a "
            "learned scalar multiplier (1) at the end of each residual branch. It needs strong regularization, such as "
            "mixup."
        ]
        norms = norms_inside(blocks)
        if norms:
            found.append(f"Remove the {len(norms)} norms inside the residual branches, such as {next(iter(norms))}.")
        bare = sum(not branch.multiplier for branch in blocks.branches)
        if bare:
            found.append(f"{bare} of {len(blocks.branches)} residual branches have no learned multiplier yet.")
        return tuple(found)
