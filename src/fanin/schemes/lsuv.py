"""lsuv: orthogonal weights, each rescaled so that its output has unit variance on a batch."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from fanin.errors import InputError
from fanin.initializers import Blocks, Initializer, Orthogonal, Rescaled, VarianceScaling
from fanin.initializers._base import number
from fanin.schemes._base import Choice, Context, Scheme, filled
from fanin.schemes._gains import recurrent

if TYPE_CHECKING:
    from fanin.recipe import Line, Recipe
    from fanin.schemes._one_pass import Measured
    from fanin.slots import Slot

__all__ = ["LSUV"]


class LSUV(Scheme):
    """Orthogonal, then W/std(output) in order of execution, in one forward pass instead of one (or more) per layer.

    The result is that of the layer-by-layer procedure: when an output appears, all before it are rescaled already. A
    tied or reused weight is rescaled at its first use; q, k and v of one tensor each on their own; where a bias is
    added, the weight alone. Weights inside fused recurrent calls and embeddings are drawn but not rescaled.

    Args:
        head_std: standard deviation of the outputs of heads; 1 as published, less for a first loss near ln C.

    Source: Mishkin & Matas, ICLR 2016.
    """

    name = "lsuv"
    title = "orthogonal weights rescaled to outputs of unit variance on the batch, in one forward pass"
    source = "Mishkin & Matas, ICLR 2016"
    needs = ("batch",)

    def __init__(self, head_std: float = 1.0) -> None:
        self.head_std = number("scheme 'lsuv'", "head_std", head_std, low=0, strict=True)

    def fit(self, context: Context) -> None:
        """See :class:`Scheme`."""
        super().fit(context)
        if context.model is None:
            raise InputError.of("model", None, "the model, which is run once", "scheme 'lsuv'")

    def weight(self, slot: Slot, context: Context) -> Choice:
        """See :class:`Scheme`."""
        if slot.kind == "recurrent":
            return recurrent(slot)
        assert slot.fans is not None
        if not slot.fans.out_axes or not slot.fans.in_axes:
            return Choice(VarianceScaling(1.0, "fan_in", "normal"), "a single output: LeCun's scale")
        return Choice(filled(slot, Orthogonal()), "orthogonal")

    def finish(self, recipe: Recipe, context: Context) -> Recipe:
        """See :class:`Scheme`."""
        from fanin.schemes._one_pass import one_pass

        slots, model = context.slots, context.model
        assert model is not None
        lines = {line.name: line for line in recipe.lines if slots[line.name].role == "weight"}
        # Zero weights have nothing to rescale; they come from overrides.
        lines = {name: line for name, line in lines.items() if line.std > 0 and slots[name].kind != "recurrent"}
        goal = {name: self.head_std if slots[name].is_head else 1.0 for name in lines}
        parts = {name: _sizes(line.initializer) for name, line in lines.items()}
        found = one_pass(model, context.inputs, recipe, context.seed, parts, goal)
        scaled = [_scaled(line, found[line.name]) if line.name in found else line for line in recipe.lines]
        notes = [*recipe.notes, f"Factors measured for weights drawn with seed {context.seed}: write with that seed."]
        missed = [name for name in lines if name not in found]
        if missed:
            why = "since no op uses them as they are stored (weight norm, or not reached)"
            notes.append(f"Not rescaled, {why}: {', '.join(missed)}.")
        still = [name for name, measured in found.items() if not min(measured.stds) > 0]
        if still:
            notes.append(f"Not rescaled, since their output does not vary on this batch: {', '.join(still)}.")
        return type(recipe)(scaled, kept=recipe.kept, scheme=recipe.scheme, notes=notes)


def _sizes(initializer: Initializer) -> tuple[int, ...]:
    if isinstance(initializer, Blocks) and initializer.axis == 0:
        return tuple(part[1] for part in initializer.config["parts"])
    return ()


def _scaled(line: Line, measured: Measured) -> Line:
    words = ", ".join(f"{std:.4g}" for std in measured.stds)
    factors = ", ".join(f"{factor:.4g}" for factor in measured.factors)
    reason = f"{line.reason}; output of std {words} on the batch: times {factors}"
    if all(math.isclose(factor, 1, rel_tol=1e-12) for factor in measured.factors):
        return replace(line, reason=reason)
    law: Initializer
    if len(measured.factors) > 1:
        parts = line.initializer.config["parts"]
        law = Blocks(
            line.initializer.config["axis"],
            [
                (name, size, Rescaled(inner, factor), *own)
                for (name, size, inner, *own), factor in zip(parts, measured.factors, strict=True)
            ],
        )
    else:
        law = Rescaled(line.initializer, measured.factors[0])
    return replace(line, initializer=law, reason=reason)
