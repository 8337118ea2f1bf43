"""rezero: deep transformers and MLPs without norms or warm-up, by a learned scalar that starts at 0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.schemes._blocks import ZeroMultiplier, norms_inside

if TYPE_CHECKING:
    from fanin.schemes._base import Context, Example

__all__ = ["ReZero"]


class ReZero(ZeroMultiplier):
    """x + α F(x) with α = 0, no layer norm and no warm-up; maps by the activation that follows.

    Args:
        norms: what ``fanin.rewire_`` does with norms: "keep", or "remove" as the authors' transformers do.

    Source: Bachlechner et al., UAI 2021.
    """

    name = "rezero"
    title = "a learned scalar α = 0 on each residual branch, no norms, no warm-up"
    source = "Bachlechner et al., UAI 2021"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer(scaled=True)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        found = [*super().notes(context)]
        if norms_inside(blocks):
            count = len(norms_inside(blocks))
            found.append(
                f"ReZero's transformers have no norm: remove the {count} in the residual branches, and the warm-up "
                "(norms='remove' of fanin.rewire_)."
            )
        if any(branch.attends for branch in blocks.branches):
            found.append("The authors share one α between the attention and the feed-forward branch of a block.")
        return tuple(found)
