"""What only a run can tell a plan: the scale of the inputs, and of the features that a head reads."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from fanin.errors import FaninError
from fanin.initializers import Mirrored, Rescaled

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fanin.initializers import Initializer
    from fanin.recipe import Line, Recipe
    from fanin.schemes._base import Context
    from fanin.schemes._one_pass import Use

__all__ = ["calibrated"]

TOLERANCE = 1.25
"""Factors between 1/1.25 and 1.25 are left out: no start is better for them, and the line stays a plain formula."""


def calibrated(recipe: Recipe, context: Context, goals: Mapping[str, float]) -> Recipe:
    """The recipe with each weight of ``goals`` rescaled, in one forward pass, so that its output has that std.

    Args:
        recipe: the plan so far.
        context: the model and its batch; without them, or without goals, the recipe is returned as it is.
        goals: weight → standard deviation of its output before the bias.
    """
    model, wanted = context.model, {line.name for line in recipe.lines if line.name in goals and line.std > 0}
    if model is None or context.inputs is None or not wanted or any(p.is_meta for p in model.parameters()):
        return recipe
    from fanin.schemes._one_pass import run_once, spread

    factors: dict[str, tuple[float, float]] = {}
    dull: list[str] = []

    def rescale(use: Use) -> None:
        if use.name in factors or use.weight.shape != use.parameter.shape:
            return
        std = math.sqrt(spread(use.output if use.bias is None else use.output - use.bias))
        factor = goals[use.name] / std if 0 < std < math.inf else 1.0
        if not 0 < std < math.inf:
            dull.append(use.name)
        factors[use.name] = (factor, std)
        if not 1 / TOLERANCE < factor < TOLERANCE:
            use.weight.mul_(factor)
            use.output.copy_(use.repeat())

    try:
        run_once(model, context.inputs, recipe, context.seed, wanted, rescale)
    except FaninError as error:
        return _noted(recipe, f"Not calibrated on the batch: {error}")
    changed = {name: found for name, found in factors.items() if not 1 / TOLERANCE < found[0] < TOLERANCE}
    lines = [_scaled(line, *changed[line.name]) if line.name in changed else line for line in recipe.lines]
    recipe = type(recipe)(lines, kept=recipe.kept, scheme=recipe.scheme, notes=recipe.notes)
    if changed:
        recipe = _noted(recipe, f"Calibrated on the batch with seed {context.seed}; write with that seed.")
    if dull:
        recipe = _noted(recipe, f"Not calibrated, since their output does not vary on this batch: {', '.join(dull)}.")
    return recipe


def _noted(recipe: Recipe, note: str) -> Recipe:
    return type(recipe)(recipe.lines, kept=recipe.kept, scheme=recipe.scheme, notes=(*recipe.notes, note))


def _scaled(line: Line, factor: float, std: float) -> Line:
    law: Initializer = line.initializer
    if isinstance(law, Mirrored):
        law = Mirrored(Rescaled(law.inner, factor), out=law.config["out"], into=law.config["into"])
    else:
        law = Rescaled(law, factor)
    return replace(
        line, initializer=law, reason=f"{line.reason}; output of std {std:.3g} on the batch: times {factor:.3g}"
    )
