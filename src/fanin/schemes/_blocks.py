"""What the schemes of residual networks and transformers share."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from fanin.errors import PlanError
from fanin.initializers import Blocks, Zeros
from fanin.schemes._architecture import architecture
from fanin.schemes._base import Choice, Scheme, usual
from fanin.schemes._edits import bare, factors, norms_option, rewire_hint, without_norms
from fanin.schemes._gains import by_nonlinearity, recurrent
from fanin.schemes._surroundings import surroundings

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fanin.fans import Fans
    from fanin.initializers import Initializer
    from fanin.schemes._architecture import Architecture, Branch
    from fanin.schemes._base import Context, Example, Keep
    from fanin.schemes._changes import Change
    from fanin.slots import Slot

__all__ = [
    "BRANCHES",
    "BlockScheme",
    "TransformerScheme",
    "ZeroMultiplier",
    "exact",
    "letters",
    "norms_inside",
    "paired_layers",
    "sides",
]

BRANCHES = "residual branches (a signal plus what is computed from it)"


def exact(value: float) -> str:
    """A number for a reason: six digits."""
    return f"{value:.6g}"


class BlockScheme(Scheme):
    """A scheme that needs residual branches."""

    needs: ClassVar[tuple[str, ...]] = ("graph",)
    looks_for = BRANCHES

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if not self.blocks(context).branches:
            raise self.missing("none")

    @staticmethod
    def blocks(context: Context) -> Architecture:
        """The architecture; ``fit`` has made sure that there is a graph."""
        found = architecture(context)
        assert found is not None
        return found


class TransformerScheme(BlockScheme):
    """A scheme for attention and feed-forward branches: a subclass writes ``law`` for one map of one role."""

    looks_for = f"{BRANCHES} with attention"

    @classmethod
    def example(cls) -> Example:
        """See :class:`Scheme`."""
        from fanin.schemes._examples import transformer

        return transformer(gated=True)

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        blocks = self.blocks(context)
        if not any(branch.attends for branch in blocks.branches):
            raise self.missing(f"{len(blocks.branches)} residual branches, none of which attends")

    def law(self, role: str, slot: Slot, branch: Branch | None, context: Context) -> Choice:
        """What a map starts as.

        Args:
            role: "q", "k", "v", "o", "gate", "up", "fc1", "fc2", "head", "modulation" or "outside".
            slot: the map, or the tensor that packs it.
            branch: the residual branch it stands in.
            context: the rest.
        """
        raise NotImplementedError

    def weight(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        blocks = self.blocks(context)
        role, branch = blocks.role(slot), blocks.branch(slot.name)
        if set(role) <= set("qkv") and len(role) > 1:
            return letters(self.name, slot, blocks, lambda letter, own: self.law(letter, own, branch, context))
        return self.law("o" if "o" in role and set(role) <= set("qkvo") else role, slot, branch, context)


def letters(scheme: str, slot: Slot, blocks: Architecture, choose: Callable[[str, Slot], Choice]) -> Choice:
    """One tensor for several of q, k, v: each as if it were alone.

    Args:
        scheme: name, for the error.
        slot: the tensor.
        blocks: the architecture.
        choose: (letter, the slot as that letter's map alone would have it) → what it starts as.

    Raises:
        PlanError: if they differ and how they lie in the tensor is not known.
    """
    role, fans = blocks.role(slot), slot.fans
    assert fans is not None
    order = blocks.packing(slot) if role == "qkv" else None
    rows = {letter: sum(count for other, count in order or () if other == letter) for letter in role}
    each = {letter: replace(fans, fan_out=count) if count else fans for letter, count in rows.items()}
    choices = {letter: choose(letter, replace(slot, fans=each[letter], parts=())) for letter in role}
    reason = "; ".join(dict.fromkeys(choice.reason for choice in choices.values()))
    laws = [choice.initializer for choice in choices.values()]
    if len(set(laws)) == 1 and _ignores_packing(laws[0], fans):
        return Choice(laws[0], reason)
    if order is None:
        raise PlanError(
            f"scheme {scheme!r}: {slot.name} {slot.shape} makes {', '.join(role)} in one tensor, and the run does not "
            f"tell which rows are which. Pass overrides={{{slot.name!r}: fanin.initializers.Blocks(axis, parts)}}, or "
            f"keep=[{slot.name!r}]."
        )
    parts = [
        (letter if len(order) == 3 else f"{letter}{i // 3}", count, choices[letter].initializer, each[letter])
        for i, (letter, count) in enumerate(order)
    ]
    return Choice(Blocks(fans.out_axes[0], parts), reason)


def _ignores_packing(law: Initializer, fans: Fans) -> bool:
    """Whether entries are independent and their law does not read the fan_out, which packing changes."""
    alone = law.law(fans)
    return alone is not None and alone == law.law(replace(fans, fan_out=2 * fans.fan_out + 1))


class ZeroMultiplier(BlockScheme):
    """x + α F(x) with a learned α that starts at 0; a branch without one starts its last map at 0 instead.

    Args:
        norms: what ``fanin.rewire_`` does with the norms of the model: "keep" or "remove".
    """

    norms_by_default: ClassVar[str] = "keep"

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        branch = self.blocks(context).branch(slot.name)
        if branch is not None and slot.name in branch.ends and not (branch.multiplier or branch.last_gain):
            reason = "ends a residual branch that has no learned α: zero, the same function at the first step"
            return Choice(Zeros(), reason)
        return recurrent(slot) if slot.kind == "recurrent" else by_nonlinearity(slot, surroundings(context))

    def choose(self, slot: Slot, context: Context) -> Choice | Keep | None:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        if slot.role == "weight":
            return self.weight(slot, context)
        if any(slot.name == branch.multiplier for branch in blocks.branches):
            return Choice(Zeros(), "α, which multiplies a residual branch: 0, so that the block starts as the identity")
        if any(slot.name == b.last_gain and not b.multiplier for b in blocks.branches):
            return Choice(Zeros(), "gain of the norm that ends a residual branch without α: 0, to the same effect")
        return usual(slot)

    def __init__(self, norms: str | None = None) -> None:
        self.norms = norms_option(self.name, self.norms_by_default if norms is None else norms)

    def changes(self, context: Context) -> tuple[Change, ...]:
        """See :class:`Scheme`."""
        why = "the block starts as the identity once it is 0"
        left_out = without_norms(self.name, context) if self.norms == "remove" else ()
        return (*left_out, *factors(self.name, context, bare(context), why))

    def notes(self, context: Context) -> tuple[str, ...]:
        """See :class:`Scheme`."""
        blocks = self.blocks(context)
        lacking = [branch for branch in blocks.branches if not branch.multiplier]
        if not lacking:
            return ()
        return (
            f"{len(lacking)} of {len(blocks.branches)} residual branches have no learned scalar α. "
            f"{rewire_hint(self.name)} Until then their last map (or last norm gain) starts at 0, which is the same "
            "function at the first step but trains differently.",
        )


def norms_inside(blocks: Architecture) -> dict[str, Any]:
    """Gains of the norms inside residual branches, in order, without repetition."""
    return dict.fromkeys(name for branch in blocks.branches for name in branch.norms)


def sides(blocks: Architecture) -> dict[int, tuple[str, int]]:
    """Stream with attention → ("encoder", "decoder" or "only", its blocks); a decoder attends to another signal."""
    layers = {branch.stream: branch.layers for branch in blocks.branches if branch.attends}
    decoders = {branch.stream for branch in blocks.branches if branch.crossed}
    paired = bool(decoders) and len(layers) > len(decoders)
    names = {stream: ("decoder" if stream in decoders else "encoder") if paired else "only" for stream in layers}
    return {stream: (names[stream], count) for stream, count in layers.items()}


def paired_layers(blocks: Architecture) -> tuple[int, int]:
    """Blocks of the deepest encoder (or of the only stream) and of the deepest decoder (0 where there is none)."""
    found = sides(blocks).values()
    encoder = max((count for side, count in found if side != "decoder"), default=0)
    return encoder, max((count for side, count in found if side == "decoder"), default=0)
