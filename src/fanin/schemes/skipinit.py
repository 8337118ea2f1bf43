"""skipinit: a learned scalar, starting at 0, in place of the norms of a residual network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.schemes._blocks import ZeroMultiplier, norms_inside

if TYPE_CHECKING:
    from fanin.schemes._base import Context, Example

__all__ = ["SkipInit"]


class SkipInit(ZeroMultiplier):
    """x + α F(x) with α = 0, maps by the activation that follows (He for ReLU).

    Batch norm shrinks branches by about √depth; α = 0 does so without it.

    Args:
        norms: what ``fanin.rewire_`` does with norms: "remove", as published, or "keep".

    Source: De & Smith, NeurIPS 2020.
    """

    name = "skipinit"
    title = "a learned scalar α = 0 ends each residual branch, in place of its norms; He inside"
    source = "De & Smith, NeurIPS 2020"
    norms_by_default = "remove"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import resnet

        return resnet(norm=False, scalar=True)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        found = [*super().notes(context)]
        if norms_inside(blocks):
            found.append(
                f"SkipInit replaces norms: remove the {len(norms_inside(blocks))} in the residual branches, and expect "
                "a lower largest learning rate and a need for regularization."
            )
        return tuple(found)
