"""What theory knows of the weights: mean and second moment of each tensor and of the parts packed in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fanin.initializers import Blocks
from fanin.keys import Key
from fanin.recipe import Recipe

if TYPE_CHECKING:  # slots looks at modules and so imports torch
    from fanin.slots import Part, Slots

__all__ = ["array_moments", "weight_moments"]


def weight_moments(recipe: Recipe, slots: Slots | None = None) -> dict[str, tuple[float, float]]:
    """(mean, second moment) of every parameter that a recipe writes, and of the parts packed in it.

    Args:
        recipe: the plan.
        slots: places of the parameters; tells the parts (gates), which follow as "name#part".

    Returns:
        Parameter name → (E W, E W²).

    Example:
        >>> from fanin.fans import linear
        >>> from fanin.initializers import Normal
        >>> from fanin.recipe import Line, Recipe
        >>> weight_moments(Recipe([Line("w", Normal(std=0.5), "example", (2, 4), linear((2, 4)))]))
        {'w': (0.0, 0.25)}
    """
    result = {}
    for line in recipe.lines:
        mean = line.initializer.mean(line.fans, line.shape)
        result[line.name] = (mean, line.initializer.std(line.fans, line.shape) ** 2 + mean**2)
        parts = slots[line.name].parts if slots is not None and line.name in slots else ()
        if parts and len(line.shape) == 1:
            # A gate bias is a handful of numbers; one draw says which gate they belong to.
            values = line.initializer.draw(Key(0), line.shape, line.fans)
            result |= _part_moments(line.name, parts, values)
        elif parts and isinstance(line.initializer, Blocks):
            for block in line.initializer.blocks(line.shape, line.fans):
                mean = block.initializer.mean(block.fans, block.shape)
                second = block.initializer.std(block.fans, block.shape) ** 2 + mean**2
                result[f"{line.name}#{block.name}"] = (mean, second)
    return result


def array_moments(arrays: Mapping[str, Any], slots: Slots) -> dict[str, tuple[float, float]]:
    """The same for weights that exist: moments of each array, and of the parts that its slot names.

    Args:
        arrays: parameter name → NumPy array (or anything NumPy converts).
        slots: places of the parameters.

    Returns:
        Parameter name, and "name#part" → (mean, second moment).
    """
    result = {}
    for name, values in arrays.items():
        x = np.asarray(values, dtype=np.float64)
        result[name] = (float(x.mean()), float(np.square(x).mean())) if x.size else (0.0, 0.0)
        if name in slots and slots[name].parts:
            result |= _part_moments(name, slots[name].parts, x)
    return result


def _part_moments(name: str, parts: Iterable[Part], values: Any) -> dict[str, tuple[float, float]]:
    result = {}
    for part in parts:
        x = np.asarray(values, dtype=np.float64).take(range(part.start, part.stop), axis=part.axis)
        if x.size:
            result[f"{name}#{part.name}"] = (float(x.mean()), float(np.square(x).mean()))
    return result
