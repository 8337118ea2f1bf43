"""deepnorm: post-norm transformers of a thousand layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fanin.errors import PlanError
from fanin.initializers import GlorotNormal
from fanin.schemes._base import Choice, Context, fan, filled
from fanin.schemes._blocks import TransformerScheme, exact, paired_layers, sides
from fanin.schemes._edits import constants as behind
from fanin.schemes._edits import is_post_norm, rewire_hint, skip_factor

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.schemes._base import Example
    from fanin.schemes._changes import Change
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
        missing = {branch.stream for branch, _ in self.missing_alpha(context)}
        found = []
        for stream, (side, layers) in sides(blocks).items():
            if stream in missing:
                alpha, _ = constants(side, layers if side == "only" else encoder, decoder)
                where = "" if side == "only" else f" of the {side}"
                found.append(
                    f"DeepNorm's forward multiplies the skip path{where} before it is added: LN(α·x + F(x)) with "
                    f"α = {exact(alpha)} for {layers} blocks. β without α is not DeepNorm; both need norms after the "
                    f"sum. {rewire_hint(self.name)}"
                )
        return tuple(dict.fromkeys(found))

    def missing_alpha(self, context: Context) -> list[tuple[Branch, float]]:
        """Branches of a transformer whose sum is not α·x + F(x) (up to a common factor) yet, with their α."""
        blocks = self.blocks(context)
        encoder, decoder = paired_layers(blocks)
        streams, found = sides(blocks), []
        for branch in blocks.branches:
            if branch.stream in streams:
                side, layers = streams[branch.stream]
                alpha, _ = constants(side, layers if side == "only" else encoder, decoder)
                if not math.isclose(skip_factor(blocks.graph, branch), alpha, rel_tol=1e-3):
                    found.append((branch, alpha))
        return found

    def changes(self, context: Context) -> tuple[Change, ...]:
        """LN(α·x + F(x)) = LN(x + F(x)/α) up to the epsilon of the norm: a constant 1/α behind each branch.

        Raises:
            PlanError: if the sum meets no norm, which would undo α.
        """
        graph, missing = self.blocks(context).graph, self.missing_alpha(context)
        for branch, _ in missing:
            if not is_post_norm(graph, branch):
                raise PlanError(
                    f"scheme 'deepnorm' is for norms after the sum, LN(α·x + F(x)); what reads the sum at "
                    f"{graph.nodes[branch.add].place!r} is not a norm alone. Use a model with norm_first=False, or "
                    "another scheme for norms inside the branches."
                )
        values = [(branch, 1 / alpha) for branch, alpha in missing]
        why = "LN(x + F(x)/α) is DeepNorm's LN(α·x + F(x)) up to the epsilon of the norm"
        return behind(self.name, context, values, why)
