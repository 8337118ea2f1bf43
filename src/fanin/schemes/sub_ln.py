"""sub_ln: Magneto's transformers with a second norm inside each branch."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from fanin.errors import PlanError
from fanin.initializers import GlorotNormal
from fanin.schemes._base import Choice, Context, fan, filled
from fanin.schemes._blocks import TransformerScheme, exact, paired_layers, sides
from fanin.schemes._changes import Change
from fanin.schemes._edits import ends_of, own_call, rewire_hint

if TYPE_CHECKING:
    from fanin.schemes._architecture import Branch
    from fanin.slots import Slot

__all__ = ["SubLN", "gain"]


def gain(side: str, encoder: int, decoder: int = 0) -> float:
    """γ for "only" (one stream of ``encoder`` blocks), "encoder" or "decoder".

    Example:
        >>> round(gain("only", 12), 6) == round(math.log(24) ** 0.5, 6)
        True
    """
    if side == "only":
        return math.sqrt(math.log(2 * encoder))
    if side == "decoder":
        return math.sqrt(math.log(3 * decoder))
    return math.sqrt(math.log(3 * decoder) * math.log(2 * encoder) / 3)


class SubLN(TransformerScheme):
    """Glorot with gain γ = √(log 2N) on v, o, fc1, fc2 and 1 on q, k, for branches with a norm before their last map.

    Encoder of N with decoder of M blocks: encoder γ = √(log(3M)·log(2N)/3), decoder γ = √(log 3M).

    Source: Wang et al. (Foundation Transformers), 2022.
    """

    name = "sub_ln"
    title = "transformers with a norm before each branch's last map: Glorot with gain √(log 2N) on v, o, fc1, fc2"
    source = "Wang et al. (Foundation Transformers, Magneto), 2022"

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """See :class:`TransformerScheme`."""
        plain = f"Glorot: {fan(slot)}, {fan(slot, 'fan_out')}"
        if branch is None or role in ("q", "k"):
            return Choice(filled(slot, GlorotNormal()), f"{role}: {plain}" if branch else plain)
        blocks = self.blocks(context)
        encoder, decoder = paired_layers(blocks)
        side, layers = sides(blocks).get(branch.stream, ("only", branch.layers))
        value = gain(side, layers if side == "only" else encoder, decoder)
        reason = f"{role}: {plain}, gain γ = {exact(value)} of {layers} blocks"
        return Choice(filled(slot, GlorotNormal(value)), reason)

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        branches, bare = self.blocks(context).branches, self.lacking(context)
        if not bare:
            return ()
        return (
            f"Sub-LN's forward has a layer norm right before the last map of each branch (attention output, fc2); "
            f"{len(bare)} of {len(branches)} branches have none yet, the first ends in {bare[0].ends[0]}. "
            f"{rewire_hint(self.name)}",
        )

    def lacking(self, context: Context) -> list[Branch]:
        """Branches of several maps that have no norm before the last one."""
        return [branch for branch in self.blocks(context).branches if len(branch.maps) > 1 and not branch.inner_norm]

    def changes(self, context: Context) -> tuple[Change, ...]:
        """See :class:`Scheme`."""
        graph = self.blocks(context).graph
        ops = {node.op for node in graph.nodes if node.kind == "norm"}
        kind = nn.RMSNorm if "rms_norm" in ops and "layer_norm" not in ops else nn.LayerNorm
        found: dict[str, Change] = {}
        for branch in self.lacking(context):
            ends = ends_of(graph, branch)
            if not ends:
                raise PlanError(
                    f"scheme 'sub_ln': the branch that is added at {graph.nodes[branch.add].place!r} does not end in a "
                    "linear map or convolution; put its second norm into the forward by hand."
                )
            for node in ends:
                call = own_call(self.name, context, node)
                width = graph.nodes[node.inputs[0]].shape[-1]
                what = f"input normalized by a new child inner_norm, {kind.__name__}({width}): Sub-LN's second norm"
                given = {"name": "inner_norm", "build": partial(kind, width)}
                found[call.path] = Change(call.path, what, "norm_before", given)
        return tuple(found.values())
