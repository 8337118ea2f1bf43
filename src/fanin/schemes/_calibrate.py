"""What only a run can tell a plan: the scale of the inputs, and what all samples have in common."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from fanin.errors import FaninError
from fanin.fans import elementwise
from fanin.initializers import Values
from fanin.keys import Key
from fanin.schemes._chains import chains
from fanin.schemes._surroundings import surroundings

if TYPE_CHECKING:
    from collections.abc import Collection

    from fanin.recipe import Line, Recipe
    from fanin.schemes._base import Context
    from fanin.slots import Slot

__all__ = ["calibrated"]

_OWN_SCALE = frozenset({"factor", "gate", "gated_by", "modulates"})


def calibrated(recipe: Recipe, context: Context, head_std: float, heads: Collection[str]) -> Recipe:
    """The recipe with what one forward pass over the batch tells.

    Maps that read the inputs get what their plan would make of inputs of unit scale. Heads that read features without
    a norm get outputs whose class-wise standard deviation over samples is ``head_std`` and whose means are 0 (or those
    that the targets ask for). Residual networks without any norm get every channel centred, with the standard
    deviation that the plan meant: rectified features have means that all samples share, which a norm would remove,
    and which else drown what tells samples apart.

    Args:
        recipe: the plan so far.
        context: the model and its batch; without them the recipe is returned as it is.
        head_std: standard deviation of outputs.
        heads: names of the weights that make outputs.
    """
    model = context.model
    if model is None or context.graph is None or context.inputs is None or any(p.is_meta for p in model.parameters()):
        return recipe
    around, linked = surroundings(context), chains(context)
    everywhere = around.without_norm
    goals: dict[str, float] = {}
    whole: dict[str, float] = {}
    for line in recipe.lines:
        slot = context.slots[line.name]
        if not _measurable(slot, context) or line.std == 0:
            continue
        if line.name in heads:
            if not around.reads_norm(line.name):
                goals[line.name] = head_std
        elif everywhere and line.name not in linked:
            goals[line.name] = around.branch_scale(slot)
        elif around.is_first(line.name) and slot.fans is not None:
            point = linked[line.name].point if line.name in linked else None
            whole[line.name] = math.sqrt(point.q) if point else line.std * math.sqrt(slot.fans.fan_in)
    if not (goals or whole):
        return recipe
    from fanin.schemes._normalised import normalised

    try:
        found = normalised(recipe, context, goals=goals, whole=whole)
    except FaninError as error:
        notes = (*recipe.notes, f"Not calibrated on the batch: {error}")
        return type(recipe)(recipe.lines, kept=recipe.kept, scheme=recipe.scheme, notes=notes)
    lines = [_with_prior(new, old, context) for new, old in zip(found.lines, recipe.lines, strict=True)]
    return type(found)(lines, kept=found.kept, scheme=found.scheme, notes=found.notes)


def _measurable(slot: Slot, context: Context) -> bool:
    plain = slot.role == "weight" and slot.kind != "recurrent" and not slot.parts and not slot.normalized
    return plain and slot.name not in context.fixed and not _OWN_SCALE & set(slot.settings)


def _with_prior(new: Line, old: Line, context: Context) -> Line:
    """Where a head's bias was planned from the targets, the measured bias is added to it."""
    if new == old or not isinstance(new.initializer, Values) or context.slots[new.name].role != "bias":
        return new
    if old.initializer.support(old.fans, old.shape) == (0.0, 0.0):
        return new
    asked = old.initializer.draw(Key(0), old.shape, elementwise(old.shape))
    return replace(new, initializer=Values(new.initializer.array + asked), reason=f"{old.reason}; {new.reason}")
