"""deepnorm: post-norm transformers of a thousand layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fanin.initializers import GlorotNormal
from fanin.schemes._base import Choice, Context, fan, filled
from fanin.schemes._blocks import TransformerScheme, exact, paired_layers, sides

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Example
    from fanin.slots import Slot

__all__ = ["DeepNorm", "constants"]


def constants(side: str, encoder: int, decoder: int = 0) -> tuple[float, float]:
    """(α, β) of DeepNorm for "only" (one stream of ``encoder`` blocks), "encoder" or "decoder".

    Example:
        >>> alpha, beta = constants("only", 24)
        >>> round(alpha, 6), round(beta, 6)
        (2.632148, 0.268642)
    """
    if side == "only":
        return (2 * encoder) ** 0.25, (8 * encoder) ** -0.25
    if side == "decoder":
        return (3 * decoder) ** 0.25, (12 * decoder) ** -0.25
    depth = (encoder**4 * decoder) ** (1 / 16)
    return 0.81 * depth, 0.87 / depth


class DeepNorm(TransformerScheme):
    """Glorot with gain β on v, o, fc1, fc2 and 1 on q, k, for a forward of LN(α·x + F(x)).

    One stream of N blocks: α = (2N)^¼, β = (8N)^-¼. Encoder of N with decoder of M blocks: encoder
    α = 0.81 (N⁴M)^(1/16), β = 0.87 (N⁴M)^(-1/16); decoder α = (3M)^¼, β = (12M)^-¼.

    Source: Wang et al. (DeepNet), 2022.
    """

    name = "deepnorm"
    title = "post-norm transformers LN(α·x + F(x)): Glorot with gain β on v, o, fc1, fc2"
    source = "Wang et al. (DeepNet), 2022"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer(post=True)

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        plain = f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}"
        if branch is None or role in ("q", "k"):
            return Choice(filled(slot, GlorotNormal()), f"{role}: {plain}" if branch else plain)
        blocks = self.blocks(context)
        encoder, decoder = paired_layers(blocks)
        side, layers = sides(blocks).get(branch.stream, ("only", branch.layers))
        _, beta = constants(side, layers if side == "only" else encoder, decoder)
        reason = f"{role}: {plain}, gain β = {exact(beta)} of {layers} blocks"
        return Choice(filled(slot, GlorotNormal(beta)), reason)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        encoder, decoder = paired_layers(blocks)
        found = []
        for side, layers in dict.fromkeys(sides(blocks).values()):
            alpha, _ = constants(side, layers if side == "only" else encoder, decoder)
            where = "" if side == "only" else f" of the {side}"
            found.append(
                f"DeepNorm's forward multiplies the skip path{where} before it is added: LN(α·x + F(x)) with "
                f"α = {exact(alpha)} for {layers} blocks. β without α is not DeepNorm; both need norms after the sum."
            )
        return tuple(found)
